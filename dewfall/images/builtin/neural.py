"""The door of the algorithms that need PyTorch: says in one way what is missing, and sets threads from the job's processors.

`python -m dewfall.images.builtin.neural <module> train|serve` imports the algorithm's module only when its libraries are there.
"""

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dewfall.images.builtin.report import say, threads
from dewfall.images.contract import CLIENT_ERROR_EXIT, channels, cluster, fail
from dewfall.images.http import Answer, Invocation, execution_parameters

SEED = 0
EXTRAS = {"torch": ("PyTorch", "dewfall[torch]"), "PIL": ("Pillow", "dewfall[vision]")}
NEEDS = {
    "image_classification": ("torch", "PIL"),
    "semantic_segmentation": ("torch", "PIL"),
    "object_detection": ("torch", "PIL"),
}


GATHERS = ("ntm",)  # hosts send their rows to the first one


def missing(module: str) -> str:
    """What to install for an algorithm, in a sentence; "" when everything is there."""
    for library in NEEDS.get(module, ("torch",)):
        if find_spec(library) is None:
            title, extra = EXTRAS[library]
            return f"This algorithm needs {title}, which is not installed. Install it where Dewfall runs: pip install '{extra}'"
    return ""


def prepare(seed: int = SEED) -> Any:
    """torch, with this job's threads and seeded."""
    import torch

    torch.set_num_threads(threads())
    torch.manual_seed(seed)
    return torch


class NetworkHandler:
    """A network behind /invocations: what `model.json` tells of it makes it, and `model.pt` is its state."""

    strategy, transforms = "", 1  # of batch transform; "" leaves them to the caller

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = {}
        self.network: Any = None

    def build(self, about: dict[str, Any]) -> Any:
        """The network, untrained."""
        raise NotImplementedError

    def load(self) -> None:
        torch = prepare()
        self.about = json.loads((self.folder / "model.json").read_text())
        self.network = self.build(self.about)
        self.network.load_state_dict(torch.load(self.folder / "model.pt", weights_only=True))
        self.network.eval()

    def ping(self) -> bool:
        return True

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        return execution_parameters(method, path, self.transforms, self.strategy) if self.strategy else None


def leave_to_first_host() -> None:
    """On several hosts the first one trains, on all data; the others end. Data that is sharded would not be all."""
    if len(cluster().hosts) == 1:
        return
    if any(channel.distribution == "ShardedByS3Key" for channel in channels().values()):
        fail("ClientError: This algorithm trains on one host here; on several, channels must be FullyReplicated.", CLIENT_ERROR_EXIT)
    if not cluster().is_leader:
        say(f"Host {cluster().current_host} leaves the training to {cluster().hosts[0]}.")
        sys.exit(0)


def main() -> None:
    module, *rest = sys.argv[1:]
    reason = missing(module)
    if reason:
        fail(f"ClientError: {reason}", CLIENT_ERROR_EXIT)
    if rest == ["train"] and module not in GATHERS:
        leave_to_first_host()
    sys.argv = [sys.argv[0], *rest]
    importlib.import_module(f"dewfall.images.builtin.{module}").main()


if __name__ == "__main__":
    main()
