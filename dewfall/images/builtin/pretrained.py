"""Weights to begin with: channel `model`, an artifact of the same algorithm (model.tar.gz) or a checkpoint (.pt, .pth) of torchvision's layout.

No weights ship here. Where AWS would take ImageNet's from its own bucket, a job without the channel fails and says so.
"""

import io
import json
import tarfile
import zlib
from dataclasses import dataclass
from typing import Any

from dewfall.images import contract
from dewfall.images.contract import UserError

HELP = (
    "use_pretrained_model asks for weights trained on ImageNet, which do not ship here. Give a checkpoint in channel 'model', or set "
    "use_pretrained_model to {off} to train from scratch."
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state dictionary, and model.json beside it where the same algorithm made it."""

    weights: dict[str, Any]
    about: dict[str, Any]


def read(wanted: bool, off: str) -> Checkpoint | None:
    """What channel `model` holds; None without it. UserError when weights are wanted and there are none."""
    channel = contract.channels().get("model")
    if channel is None:
        if wanted:
            raise UserError(HELP.format(off=off))
        return None
    files = {path.name: path.read_bytes() for path in channel.files()}
    for name, body in list(files.items()):
        if name.endswith((".tar.gz", ".tgz")):
            files |= _unpacked(name, body)
    weights = next((body for name, body in sorted(files.items()) if name.endswith((".pt", ".pth"))), None)
    if weights is None:
        raise UserError("Channel 'model' has no checkpoint: a model.tar.gz of this algorithm, or a .pt or .pth file with a state dictionary.")
    try:
        about = json.loads(files.get("model.json", b"{}"))
    except ValueError:
        raise UserError("model.json of channel 'model' is not JSON.") from None
    return Checkpoint(_loaded(weights), about if isinstance(about, dict) else {})


def _unpacked(name: str, body: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    found[member.name.rpartition("/")[2]] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error):
        raise UserError(f"{name} of channel 'model' is not an archive.") from None
    return found


def _loaded(body: bytes) -> dict[str, Any]:
    import torch

    try:
        found = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"The checkpoint of channel 'model' cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise UserError("The checkpoint of channel 'model' is not a state dictionary.")
    return found.get("state_dict", found)


def check_same(checkpoint: Checkpoint, about: dict[str, Any], names: tuple[str, ...]) -> None:
    """UserError when the earlier model was built with other settings; checkpoints from elsewhere tell none."""
    for name in names:
        if name in checkpoint.about and checkpoint.about[name] != about[name]:
            raise UserError(f"The model of channel 'model' was trained with {name} {checkpoint.about[name]}; this job has {about[name]}.")
