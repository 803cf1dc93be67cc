"""The customer's own scripts around an analysis: preprocess_handler for every record, postprocess_handler at the end."""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dewfall.images.contract import UserError


def preprocessor(script: Path | None) -> Callable[..., Any] | None:
    """The script's preprocess_handler, called with the record (and a logger where it takes one); None where there is no script."""
    if script is None:
        return None
    handler = _handler(script, "preprocess_handler")
    takes_logger = len(inspect.signature(handler).parameters) > 1

    def call(record: Any) -> Any:
        try:
            return handler(record, logging.getLogger("preprocessor")) if takes_logger else handler(record)
        except Exception as error:
            raise UserError(f"preprocess_handler of {script.name} failed: {type(error).__name__}: {error}") from error

    return call


def postprocess(script: Path | None) -> None:
    """Run the script's postprocess_handler where there is one."""
    if script is None:
        return
    try:
        _handler(script, "postprocess_handler")()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"postprocess_handler of {script.name} failed: {type(error).__name__}: {error}") from error


def _handler(script: Path, name: str) -> Callable[..., Any]:
    path = next(iter(sorted(script.rglob("*.py"))), script) if script.is_dir() else script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"The script {path.name} was not found.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found: Callable[..., Any] = getattr(module, name)
    except AttributeError:
        raise UserError(f"The script {path.name} has no function {name}.") from None
    except Exception as error:
        raise UserError(f"The script {path.name} cannot be loaded: {type(error).__name__}: {error}") from error
    return found
