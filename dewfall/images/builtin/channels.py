"""Which channels, and which content types in them, an algorithm takes: AWS's containers check InputDataConfig before they read any data.

The catalog has the tables. A channel without a content type is what AWS takes it for: records, or what its files' names say.
"""

from dewfall.images import catalog, contract
from dewfall.images.contract import Channel, UserError
from dewfall.images.formats import media_type

INVALID = "Unable to initialize the algorithm. Failed to validate input data configuration. (caused by ValidationError)\n\nCaused by: "
DATA = ("train", "training", "validation", "test")  # have the algorithm's own content types; others, their own or any
RECORD_READERS = (
    "linear-learner", "factorization-machines", "knn", "kmeans", "pca", "randomcutforest", "lda", "ntm", "object2vec", "ipinsights",
)  # fmt: skip


def missing(name: str) -> UserError:
    """The refusal of a job without a channel that it needs."""
    return UserError(f"{INVALID}'{name}' is a required property")


def check(algorithm: str) -> None:
    """UserError, in AWS's words, for a channel that the algorithm does not have or a content type that it does not read."""
    image, given = catalog.find_algorithm(algorithm), contract.channels()
    unknown = [name for name in given if name not in image.channels]
    # Without channel train that is what the algorithm says. JumpStart's scripts, whose channel is `training`, mind no other channel.
    if unknown and "train" in given and "training" not in image.channels:
        raise UserError(f"{INVALID}Additional properties are not allowed ('{unknown[0]}' was unexpected)")
    for name, channel in given.items():
        _check_type(algorithm, channel, image.channel_types.get(name, image.train_types if name in DATA else ()))


def _check_type(algorithm: str, channel: Channel, allowed: tuple[str, ...]) -> None:
    kind, parameters = media_type(channel.content_type)
    if not kind or not allowed or kind in allowed:
        return
    if algorithm in RECORD_READERS:
        raise UserError(f"No iterator has been registered for ContentType ('{kind}', '{parameters.get('version', '1.0')}')")
    raise UserError(f"{INVALID}'{kind}' is not one of {list(allowed)} for the ContentType of channel '{channel.name}'")
