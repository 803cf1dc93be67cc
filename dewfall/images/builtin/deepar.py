"""The DeepAR image: one recurrent network trained on all series; answers are means, quantiles and samples of what comes.

The model is `model.pt`, a state dictionary of dewfall.ml.nets.forecast.Forecaster, and `model.json`, how it was built.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, report
from dewfall.images.builtin.deepar_series import Series, read_channel
from dewfall.images.builtin.deepar_serving import DeepArHandler, Trained
from dewfall.images.contract import UserError, cluster, folders
from dewfall.images.http import serve
from dewfall.ml import seasons
from dewfall.ml.nets.fitting import Patience, optimizer
from dewfall.ml.nets.forecast import window_loss

BATCHES_PER_EPOCH = 10
IGNORED = ("ignore", "")


def train() -> None:
    """Train on windows of channel train; RMSE and quantile losses of channel test."""
    given = algorithm.settings("forecasting-deepar")
    neural.prepare()
    channels = contract.channels()
    if "train" not in channels:
        raise UserError(algorithm.NO_TRAIN)
    series = read_channel(channels["train"])
    test = read_channel(channels["test"]) if "test" in channels else []
    about, quantiles = _about(given, series), _quantiles(given["test_quantiles"])
    _check([*series, *test], about)
    trained = Trained.made(about)
    report.say(f"Training set statistics: {len(series)} time series, {sum(len(one.target) for one in series)} points, lags {about['lags']}")
    _fit(trained, series, given)
    if test:
        _report_test(trained, test, given["num_eval_samples"], quantiles)
    trained.save(folders().model)


def _about(given: dict[str, Any], series: Sequence[Series]) -> dict[str, Any]:
    """How the network is built: hyperparameters with what the data says about them."""
    try:
        frequency = seasons.parse_frequency(given["time_freq"])
    except ValueError as error:
        raise UserError(f"time_freq: {error}")
    longest = max(len(one.target) for one in series)
    if longest <= given["prediction_length"]:
        raise UserError(f"No time series is longer than prediction_length, {given['prediction_length']}.")
    own = _dynamic(given["num_dynamic_feat"], series)
    fields = len(seasons.FIELDS[frequency.unit])
    network = {
        "lags": seasons.lags(frequency, longest - given["prediction_length"]),
        "features": fields + 1 + own,
        "cardinality": _cardinality(given["cardinality"], series),
        "embedding": given["embedding_dimension"],
        "cells": given["num_cells"],
        "layers": given["num_layers"],
        "dropout": given["dropout_rate"],
        "likelihood": given["likelihood"].replace("-t", "-T"),  # AWS takes either
    }
    return {
        "network": network,
        "lags": network["lags"],
        "time_freq": given["time_freq"],
        "context_length": given["context_length"],
        "prediction_length": given["prediction_length"],
        "num_dynamic_feat": own,
    }


def _quantiles(text: str) -> list[float]:
    try:
        found = [float(quantile) for quantile in json.loads(text)]
    except (ValueError, TypeError):
        found = []
    if not found or not all(0 < quantile < 1 for quantile in found):
        raise UserError(f"test_quantiles must be an array of numbers between 0 and 1, such as [0.1, 0.5, 0.9], not {text!r}.")
    return found


def _cardinality(text: str, series: Sequence[Series]) -> list[int]:
    if text in IGNORED:
        return []
    kinds = {len(one.categories) for one in series}
    if text == "auto":
        if len(kinds) > 1:
            raise UserError("All time series must have the same number of categorical features 'cat'.")
        return [max(column) + 1 for column in zip(*(one.categories for one in series), strict=True)]
    try:
        found = json.loads(text)
        found = [int(size) for size in (found if isinstance(found, list) else [found])]
    except (ValueError, TypeError):
        raise UserError(f"cardinality must be 'auto', 'ignore' or an array of positive integers, not {text!r}.")
    if kinds != {len(found)}:
        raise UserError(f"cardinality names {len(found)} categorical features, the time series have {sorted(kinds)}.")
    return found


def _dynamic(text: str | int, series: Sequence[Series]) -> int:
    if text in IGNORED:
        return 0
    kinds = {0 if one.dynamic is None else len(one.dynamic) for one in series}
    if len(kinds) > 1 or (text != "auto" and kinds != {int(text)}):
        raise UserError(f"num_dynamic_feat is {text}, the time series have {sorted(kinds)} dynamic features.")
    return kinds.pop()


def _check(series: Sequence[Series], about: dict[str, Any]) -> None:
    """Values that the likelihood and the cardinality allow; dynamic features as long as the targets."""
    likelihood, cardinality = about["network"]["likelihood"], about["network"]["cardinality"]
    frequency = seasons.parse_frequency(about["time_freq"])
    for one in series:
        try:
            seasons.calendar(one.start, frequency, 0, 1)
        except ValueError as error:
            raise UserError(f"A time series cannot be read: {error}.") from None
        known = one.target[np.isfinite(one.target)]
        if likelihood == "negative-binomial" and ((known < 0) | (known != np.round(known))).any():
            raise UserError("likelihood 'negative-binomial' needs targets that are non-negative integers.")
        if likelihood == "beta" and ((known < 0) | (known > 1)).any():
            raise UserError("likelihood 'beta' needs targets between 0 and 1.")
        if cardinality and any(kind >= size for kind, size in zip(one.categories, cardinality, strict=True)):
            raise UserError(f"A time series has cat {list(one.categories)}, which is outside of cardinality {cardinality}.")
        if about["num_dynamic_feat"] and one.dynamic is not None and one.dynamic.shape[1] < len(one.target):
            raise UserError("Each dynamic feature must be at least as long as the target of its time series.")


def _fit(trained: Trained, series: Sequence[Series], given: dict[str, Any]) -> None:
    """Epochs of windows drawn from all series, longer ones more often."""
    import torch

    network, cutter, host = trained.network, trained.cutter, cluster().current_host
    rng = np.random.default_rng(neural.SEED)
    prepared = [cutter.prepared(one) for one in series]
    room = np.array([max(len(one.target) - cutter.ahead + 1, 1) for one in series], float)
    windows = max(BATCHES_PER_EPOCH * given["mini_batch_size"], int(room.sum() / (cutter.context + cutter.ahead)))
    steps = optimizer("adam", network.parameters(), given["learning_rate"])
    patience = Patience(given["early_stopping_patience"] or given["epochs"] + 1)
    losses: list[float] = []
    for epoch in range(given["epochs"]):
        network.train()
        total = []
        for _ in range(max(1, windows // given["mini_batch_size"])):
            batch = _batch(trained, series, prepared, room, rng, given["mini_batch_size"])
            loss = window_loss(network, batch, cutter.context + cutter.ahead)
            steps.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            steps.step()
            total.append(float(loss.detach()))
        losses.append(float(np.mean(total)))
        report.say(f"Epoch[{epoch}] avg_epoch_loss={losses[-1]:.6f}")
        report.quality(host, "train loss", losses[-1], epoch=epoch)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
        if not np.isfinite(losses[-1]):
            raise UserError("The training loss is not a number. Lower the learning rate or choose another likelihood.")
        if patience.ends(losses[-1], network):
            report.say(f"Loss has not improved for {patience.epochs} epochs. Stopping training.")
            break
    patience.restore(network)
    report.say(f"Final loss: {min(losses)} (occurred at epoch {int(np.argmin(losses))})")
    report.quality(host, "train final_loss", min(losses))


def _batch(
    trained: Trained, series: Sequence[Series], prepared: list[Any], room: NDArray[np.float64], rng: np.random.Generator, size: int
) -> dict[str, Any]:
    cutter = trained.cutter
    chosen = rng.choice(len(series), size, p=room / room.sum())
    firsts = [int(rng.integers(1, max(len(series[place].target) - cutter.ahead + 1, 2))) for place in chosen]
    cut = [cutter.window(prepared[place], first) for place, first in zip(chosen, firsts, strict=True)]
    return trained.tensors(cut, [series[place].categories for place in chosen])


def _report_test(trained: Trained, test: Sequence[Series], samples: int, quantiles: Sequence[float]) -> None:
    """Forecast the last values of each test series from those before them."""
    ahead, host = trained.cutter.ahead, cluster().current_host
    long = [one for one in test if len(one.target) > ahead]
    if not long:
        raise UserError(f"No time series of channel test is longer than prediction_length, {ahead}.")
    truth = np.stack([one.target[-ahead:] for one in long])
    drawn = trained.forecast([Series(one.start, one.target[:-ahead], one.categories, one.dynamic) for one in long], samples)
    there = np.isfinite(truth)
    total = max(float(np.abs(truth[there]).sum()), 1e-12)
    rmse = float(np.sqrt(((drawn.mean(1) - truth)[there] ** 2).mean()))
    losses = {}
    for quantile in quantiles:
        off = (truth - np.quantile(drawn, quantile, axis=1))[there]
        losses[quantile] = float(2 * np.maximum(quantile * off, (quantile - 1) * off).sum())
    mean = float(np.mean(list(losses.values())))
    report.say(f"#test_score ({host}, RMSE): {rmse}")
    report.say(f"#test_score ({host}, mean_absolute_QuantileLoss): {mean}")
    report.say(f"#test_score ({host}, mean_wQuantileLoss): {mean / total}")
    for quantile, loss in losses.items():
        report.say(f"#test_score ({host}, wQuantileLoss[{quantile}]): {loss / total}")
    report.say(f"#quality_metric: host={host}, test RMSE <loss>={rmse}")
    report.say(f"#quality_metric: host={host}, test mean_wQuantileLoss <loss>={mean / total}")


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(DeepArHandler(folders().model))
