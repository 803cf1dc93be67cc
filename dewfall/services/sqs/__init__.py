"""SQS: queues and messages, standard and FIFO. Importing the package registers every operation."""

from dewfall.services.sqs import messages, moving, permissions, queues, receiving

__all__ = ["messages", "moving", "permissions", "queues", "receiving"]
