"""S3 Control: importing this package registers its operations."""

from dewfall.services.s3control import access_points, accounts, storage_lens, tags

__all__ = ["access_points", "accounts", "storage_lens", "tags"]
