"""Language models to begin with: channel `model` as a folder or archive of Hugging Face's form (config.json, weights, tokenizer).

None ship here, as AWS's do in its own bucket. transformers, an extra, knows how to build them; TensorFlow's SavedModels cannot be trained on.
"""

import json
import tarfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dewfall.images import contract
from dewfall.images.builtin import report
from dewfall.images.contract import UserError

MISSING = "A Hugging Face model needs transformers, which is not installed. Install it where Dewfall runs: pip install 'dewfall[huggingface]'"
SAVED_MODEL = (
    "Channel 'model' has a TensorFlow SavedModel, as TensorFlow Hub gives them, which cannot be fine-tuned here. Give a Hugging Face model: "
    "config.json, model.safetensors and the files of its tokenizer, as a folder or a .tar.gz."
)
NO_WEIGHTS = "Channel 'model' has config.json, but no weights of PyTorch beside it (model.safetensors or pytorch_model.bin)."
ABOUT = "model.json"  # of this algorithm; tells the labels of an earlier training


def find(scratch: Path) -> Path | None:
    """The folder in channel `model` that has a config.json of Hugging Face's; archives are unpacked in `scratch`. None where there is none."""
    channel = contract.channels().get("model")
    if channel is None:
        return None
    folders = [
        *{path.parent for path in channel.files()},
        *(_unpacked(path, scratch) for path in channel.files() if path.name.endswith((".tar.gz", ".tgz"))),
    ]
    found = [path for folder in folders for path in sorted(folder.rglob("config.json")) if _is_model(path)]
    if not found and any(any(folder.rglob("saved_model.pb")) for folder in folders):
        raise UserError(SAVED_MODEL)
    if not found:
        return None
    if not [*found[0].parent.glob("*.safetensors"), *found[0].parent.glob("pytorch_model*.bin")]:
        raise UserError(NO_WEIGHTS)
    return found[0].parent


def load(folder: Path, labels: Sequence[Any], *, dropout: float, reinitialize: str) -> Any:
    """The model with a head for the labels: the folder's own where it has one and `reinitialize` and the labels allow, else a new one."""
    if find_spec("transformers") is None:
        raise UserError(MISSING)
    from dewfall.ml.nets.language import LanguageModel

    known = json.loads((folder / ABOUT).read_text()).get("labels") if (folder / ABOUT).is_file() else None
    is_fresh = reinitialize == "True" or (reinitialize == "Auto" and known != list(labels))
    try:
        found = LanguageModel(folder, len(labels), dropout=dropout, fresh=is_fresh)
    except ValueError as error:
        hint = "" if is_fresh else " Set reinitialize_top_layer to Auto or True."
        raise UserError(f"The model of channel 'model' cannot be read: {str(error).splitlines()[0]}.{hint}") from None
    except (OSError, KeyError, ImportError) as error:
        raise UserError(f"The model of channel 'model' cannot be read: {str(error).strip().splitlines()[0]}") from None
    lacking = ", for its weights have none" if found.is_top_new and not is_fresh else ""
    report.say(f"Loaded the {type(found.model).__name__} of channel 'model', its top layer {'drawn anew' if found.is_top_new else 'kept'}{lacking}.")
    return found


def _is_model(path: Path) -> bool:
    try:
        document = json.loads(path.read_text())
    except ValueError:
        return False
    return isinstance(document, dict) and bool({"model_type", "architectures"} & document.keys())


def _unpacked(path: Path, scratch: Path) -> Path:
    folder = scratch / path.name
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError:
        raise UserError(f"{path.name} of channel 'model' is not an archive.") from None
    return folder
