"""SNS: topics, subscriptions to SQS and HTTP, publishing. Importing the package registers every operation."""

from dewfall.services.sns import permissions, publishing, subscriptions, topics

__all__ = ["permissions", "publishing", "subscriptions", "topics"]
