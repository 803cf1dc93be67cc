"""EventBridge: buses, rules, targets, events; schedules, archives and replays; API destinations. Importing the package registers every operation."""

from dewfall.services.events import archives, buses, connections, delivery, replays, rules

__all__ = ["archives", "buses", "connections", "delivery", "replays", "rules"]
