"""A trained DeepAR model: kept in a folder, asked for forecasts, and behind /invocations."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin import neural
from dewfall.images.builtin.deepar_series import Cutter, Series, parse_series
from dewfall.images.formats import JSON, JSON_LINES, FormatError, UnsupportedFormat, choose_accept, media_type, write_json, write_jsonlines
from dewfall.images.http import Answer, Invocation, execution_parameters
from dewfall.ml import seasons
from dewfall.ml.nets.forecast import Forecaster, sample

LINES = (JSON_LINES, "application/x-jsonlines")
OUTPUTS = ("mean", "quantiles", "samples")
DEFAULTS = {"num_samples": 100, "output_types": ["mean", "quantiles"], "quantiles": [f"0.{tenth}" for tenth in range(1, 10)]}
AT_ONCE = 6400  # sampled paths


class Trained:
    """The network and how to cut series for it."""

    def __init__(self, about: dict[str, Any], network: Any) -> None:
        self.about, self.network = about, network
        self.cutter = Cutter(
            seasons.parse_frequency(about["time_freq"]),
            about["context_length"],
            about["prediction_length"],
            max(about["lags"]),
            about["num_dynamic_feat"],
        )

    @classmethod
    def made(cls, about: dict[str, Any]) -> "Trained":
        return cls(about, Forecaster(**about["network"]))

    @classmethod
    def load(cls, folder: Path) -> "Trained":
        torch = neural.prepare()
        found = cls.made(json.loads((folder / "model.json").read_text()))
        found.network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        found.network.eval()
        return found

    def save(self, folder: Path) -> None:
        import torch

        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), folder / "model.pt")
        (folder / "model.json").write_text(json.dumps(self.about))

    def tensors(self, windows: Sequence[tuple[NDArray[Any], NDArray[Any]]], categories: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Windows as the network wants them: values with zeros where nothing was seen."""
        import torch

        values = torch.from_numpy(np.stack([window[0] for window in windows]))
        seen = torch.isfinite(values).float()
        kinds = len(self.about["network"]["cardinality"])
        return {
            "values": torch.nan_to_num(values),
            "seen": seen,
            "features": torch.from_numpy(np.stack([window[1] for window in windows])),
            "categories": torch.tensor([list(category[:kinds]) for category in categories], dtype=torch.long).reshape(len(windows), kinds),
            "known": values.shape[1] - self.cutter.ahead,
        }

    def forecast(self, series: Sequence[Series], samples: int) -> NDArray[np.float32]:
        """(series, samples, prediction_length) possible futures."""
        self.network.eval()
        step = max(1, AT_ONCE // samples)
        parts = [self._forecast(series[first : first + step], samples) for first in range(0, len(series), step)]
        return np.concatenate(parts)

    def _forecast(self, series: Sequence[Series], samples: int) -> NDArray[np.float32]:
        cutter = self.cutter
        cut = [cutter.window(cutter.prepared(one), len(one.target)) for one in series]
        batch = self.tensors(cut, [one.categories for one in series])
        batch |= {name: batch[name][:, : -cutter.ahead] for name in ("values", "seen")}
        found: NDArray[np.float32] = sample(self.network, batch, cutter.context, cutter.ahead, samples).numpy()
        return found

    def check(self, series: Series) -> None:
        """FormatError when a request's series is not like those of the training."""
        cardinality, own = self.about["network"]["cardinality"], self.about["num_dynamic_feat"]
        if len(series.categories) < len(cardinality):
            raise FormatError(f"The model was trained with {len(cardinality)} categorical features, 'cat' has {len(series.categories)}")
        if any(kind >= size for kind, size in zip(series.categories, cardinality, strict=False)):
            raise FormatError(f"'cat' {list(series.categories)} is outside of the cardinality of the training data, {cardinality}")
        if own and (series.dynamic is None or len(series.dynamic) != own):
            raise FormatError(f"The model was trained with {own} dynamic features; 'dynamic_feat' must have as many")
        wanted = len(series.target) + self.cutter.ahead
        if own and series.dynamic is not None and series.dynamic.shape[1] != wanted:
            raise FormatError(f"'dynamic_feat' must have the length of target plus prediction_length, {wanted}; it has {series.dynamic.shape[1]}")


class DeepArHandler:
    """Forecasts behind /invocations: JSON with instances and configuration, or JSON lines for batch transform."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trained: Trained | None = None

    def load(self) -> None:
        self.trained = Trained.load(self.folder)

    def ping(self) -> bool:
        return True

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        return execution_parameters(method, path, 1, "SINGLE_RECORD")

    def invoke(self, invocation: Invocation) -> Answer:
        try:
            kind = media_type(invocation.content_type or JSON)[0]
            if kind not in (JSON, *LINES):
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use {JSON} or {JSON_LINES}.")
            accept = choose_accept(invocation.accept, (JSON, *LINES), kind)
            series, configuration = _asked(bytes(invocation.body), kind)
            found = self._predict(series, configuration)
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except ValueError as error:
            return Answer(str(error), "text/plain", 400)
        return Answer(write_jsonlines(found) if accept in LINES else write_json({"predictions": found}), accept)

    def _predict(self, series: list[Series], configuration: dict[str, Any]) -> list[dict[str, Any]]:
        assert self.trained is not None
        for one in series:
            self.trained.check(one)
        if not series:
            return []
        drawn = self.trained.forecast(series, configuration["num_samples"])
        return [_answer(paths, configuration) for paths in drawn]


def _asked(body: bytes, kind: str) -> tuple[list[Series], dict[str, Any]]:
    """(series, configuration) of a request. ValueError says what is wrong."""
    try:
        if kind in LINES:
            configuration = json.loads(os.environ.get("DEEPAR_INFERENCE_CONFIG") or "{}")
            instances = [json.loads(line) for line in body.splitlines() if line.strip()]
        else:
            document = json.loads(body)
            instances, configuration = document["instances"], document.get("configuration") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FormatError('The request must be a JSON object with a list called "instances", or JSON lines') from None
    return [parse_series(instance) for instance in instances], _checked(DEFAULTS | configuration)


def _checked(configuration: dict[str, Any]) -> dict[str, Any]:
    samples = configuration["num_samples"]
    if not isinstance(samples, int) or samples < 1:
        raise FormatError("configuration: num_samples must be a positive integer")
    if not set(configuration["output_types"]) <= set(OUTPUTS):
        raise FormatError(f"configuration: output_types must be among {', '.join(OUTPUTS)}")
    if not all(0 < float(quantile) < 1 for quantile in configuration["quantiles"]):
        raise FormatError("configuration: quantiles must be between 0 and 1")
    return configuration


def _answer(paths: NDArray[np.float32], configuration: dict[str, Any]) -> dict[str, Any]:
    """One prediction of paths (samples, steps)."""
    wanted = configuration["output_types"]
    found: dict[str, Any] = {}
    if "quantiles" in wanted:
        found["quantiles"] = {str(quantile): np.quantile(paths, float(quantile), axis=0).tolist() for quantile in configuration["quantiles"]}
    if "samples" in wanted:
        found["samples"] = paths.tolist()
    if "mean" in wanted:
        found["mean"] = paths.mean(0).tolist()
    return found
