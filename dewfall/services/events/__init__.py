"""EventBridge: buses, rules, targets, events; schedules, archives and replays. Importing the package registers every operation."""

from dewfall.services.events import archives, buses, delivery, replays, rules

__all__ = ["archives", "buses", "delivery", "replays", "rules"]
