"""PyTorch's hook: weights, gradients, biases, losses, layers' inputs and outputs of the steps that are due, named as smdebug names them.

root module's forward begins a step ─ modules' forwards, gradients and losses are noted ─ the next step (or the process's end) writes them
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from dewfall.images.debugging.config import Collection, HookConfig, read_config
from dewfall.images.debugging.folder import TensorFolder

DEFAULTS = ("losses",)
INTERVAL = 500
PATTERNS = {
    "weights": ("^(?!gradient).*weight",),
    "biases": ("^(?!gradient).*bias",),
    "gradients": ("^gradient",),
    "losses": ("[Ll]oss_(?!input).*output",),
}
CUSTOM = "default"  # the collection of what the script itself records


def find_config() -> HookConfig | None:
    """The job's hook configuration for PyTorch."""
    return read_config(DEFAULTS, PATTERNS, INTERVAL)


class TorchHook:
    """The hook of one process. `mode` is one of TRAIN, EVAL, PREDICT and GLOBAL."""

    def __init__(self, config: HookConfig) -> None:
        self.folder = TensorFolder(config)
        self.mode = "GLOBAL"
        self.step = -1
        self.steps: dict[str, int] = {}
        self.due: list[Collection] = []
        self.noted: list[tuple[str, str, Any]] = []
        self.is_writer = os.environ.get("RANK", "0") == "0"
        atexit.register(self.close)

    def set_mode(self, mode: Any) -> None:
        """What the steps from now on are."""
        self.mode = str(getattr(mode, "name", mode)).rpartition(".")[2]

    def register_module(self, module: Any) -> None:
        """Watch a model: every submodule's forward, every parameter's gradient."""
        root = type(module).__name__
        module.register_forward_pre_hook(lambda one, inputs: self._begin(root, one))
        for name, part in module.named_modules():
            part.register_forward_hook(self._forward(name or root))
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                parameter.register_hook(self._gradient(f"gradient/{root}_{name}"))

    register_hook = register_module

    def register_loss(self, loss: Any) -> None:
        """Watch a loss module."""
        loss.register_forward_hook(self._forward(type(loss).__name__))

    def record_tensor_value(self, tensor_name: str, tensor_value: Any) -> None:
        """A tensor of the script's own, e.g. a loss that a function computes."""
        self._note(tensor_name, tensor_value)

    def save_scalar(self, name: str, value: Any, sm_metric: bool = False, timestamp: float | None = None) -> None:
        """A number, saved whatever the intervals are."""
        if self.is_writer:
            self.noted.append(("sm_metrics" if sm_metric else CUSTOM, f"scalar/{name}", value))

    def save_tensor(self, tensor_name: str, tensor_value: Any, collections_to_write: Any = CUSTOM) -> None:
        """A tensor into named collections."""
        wanted = [collections_to_write] if isinstance(collections_to_write, str) else list(collections_to_write)
        if self.is_writer and any(collection.name in wanted for collection in self.due):
            self.noted += [(name, tensor_name, _array(tensor_value)) for name in wanted]

    def close(self) -> None:
        """Write what has been noted of the last step."""
        if self.noted:
            self.folder.write(max(0, self.step), self.noted, self.mode_of_step, self.steps.get(self.mode_of_step, 0))
        self.noted = []

    mode_of_step = "GLOBAL"

    def _begin(self, root: str, module: Any) -> None:
        self.close()
        self.mode_of_step = self.mode
        self.step += 1
        self.steps[self.mode] = self.steps.get(self.mode, -1) + 1
        self.due = self.folder.config.due(self.steps[self.mode], self.mode.lower()) if self.is_writer else []
        for name, parameter in module.named_parameters() if self.due else ():
            self._note(f"{root}_{name}", parameter)

    def _forward(self, name: str) -> Any:
        def hook(module: Any, inputs: Any, outputs: Any) -> None:
            if self.due:
                for kind, values in (("input", inputs), ("output", outputs)):
                    for number, value in enumerate(_tensors(values)):
                        self._note(f"{name}_{kind}_{number}", value)

        return hook

    def _gradient(self, name: str) -> Any:
        def hook(gradient: Any) -> None:
            self._note(name, gradient)

        return hook

    def _note(self, name: str, value: Any) -> None:
        mine = [collection.name for collection in self.due if collection.takes(name) or collection.name == "all"]
        if self.due and self.folder.config.save_all:
            mine.append("all")
        if mine:
            array = _array(value)
            self.noted += [(collection, name, array) for collection in dict.fromkeys(mine)]


def _tensors(values: Any) -> list[Any]:
    """The tensors of a module's arguments or answer."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list | tuple):
        return [tensor for value in values for tensor in _tensors(value)]
    return [values] if hasattr(values, "detach") else []


def _array(value: Any) -> Any:
    """A copy as NumPy has it, for the script goes on changing the tensor. Types that NumPy lacks become float32."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    try:
        return tensor.numpy().copy()
    except TypeError:
        return tensor.float().numpy().copy()
