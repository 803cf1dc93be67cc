"""ECR, to the extent that SageMaker flows ask for it: an authorization token, and repositories and image manifests as records.

There are no layers to pull here: what runs comes from Dewfall's image catalog. Importing the package registers every operation.
"""

from dewfall.services.ecr import images, registries, repositories

__all__ = ["images", "registries", "repositories"]
