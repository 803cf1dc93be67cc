"""The Sequence-to-Sequence image: pairs of token sequences, an encoder and a decoder with attention, beam search for answers.

The model is `model.pt`, a state dictionary of dewfall.ml.nets.translate.Translator, `model.json`, and both vocabularies.
"""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, report
from dewfall.images.builtin.channels import missing
from dewfall.images.builtin.seq2seq_serving import VOCABULARIES, TranslationHandler, build
from dewfall.images.contract import Channel, UserError, cluster, folders
from dewfall.images.http import serve
from dewfall.images.recordio import Record, read_records
from dewfall.ml.bleu import corpus_bleu
from dewfall.ml.nets.fitting import Patience, optimizer
from dewfall.ml.nets.translate import BEGIN, END, PAD, translate

Pair = tuple[list[int], list[int]]
FEWER = ("accuracy", "bleu")  # of these more is better


@dataclass(slots=True)
class Course:
    """Where training stands."""

    updates: int = 0
    checkpoints: int = 0
    since: int = 0  # checkpoints without a better one, for the learning rate


def train() -> None:
    """Train on channel train; the checkpoint that was best on channel validation stays."""
    given = algorithm.settings("seq2seq")
    if given["min_num_epochs"] > (given["max_num_epochs"] or given["min_num_epochs"]):
        raise UserError(f"min_num_epochs, {given['min_num_epochs']}, is greater than max_num_epochs, {given['max_num_epochs']}.")
    torch = neural.prepare()
    channels = contract.channels()
    for name in ("train", "validation", "vocab"):
        if name not in channels:
            raise missing(name)
    words = [_vocabulary(channels["vocab"], name) for name in VOCABULARIES]
    about = {"given": given, "sizes": [max(table.values()) + 1 for table in words]}
    sets = {name: read_pairs(channels[name], about) for name in ("train", "validation")}
    network = build(about)
    _initialize(network, given)
    _fit(network, sets["train"], sets["validation"], given)
    folder = folders().model
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps(about))
    for name, table in zip(VOCABULARIES, words, strict=True):
        (folder / name).write_text(json.dumps(table))


def _vocabulary(channel: Channel, name: str) -> dict[str, int]:
    path = next((path for path in channel.files() if path.name == name), None)
    try:
        found = json.loads(path.read_text()) if path is not None else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found or not all(isinstance(number, int) and number >= 0 for number in found.values()):
        raise UserError(f"Channel 'vocab' needs the file {name}, a JSON object from tokens to integers.")
    return found


def read_pairs(channel: Channel, about: dict[str, Any]) -> list[Pair]:
    """Source and target tokens of RecordIO-protobuf records with int32 tensors, cut to the longest lengths."""
    found: list[Pair] = []
    lengths = [about["given"]["max_seq_len_source"], about["given"]["max_seq_len_target"]]
    try:
        for body in channel.bodies():
            found += [_pair(record) for record in read_records(body)]
    except ValueError as error:  # a RecordError, or texts that are none
        raise UserError(f"Unable to read channel '{channel.name}' as RecordIO-protobuf: {error}")
    pairs = [(source[: lengths[0]], target[: lengths[1]]) for source, target in found if source and target]
    if not pairs:
        raise UserError(f"No data found in channel '{channel.name}'. Please verify the S3 location of the channel.")
    for side, size in enumerate(about["sizes"]):
        if any(not 0 <= token < size for pair in pairs for token in pair[side]):
            raise UserError(f"Channel '{channel.name}' has tokens outside of the vocabulary {VOCABULARIES[side]}, which has {size}.")
    return pairs


def _pair(record: Record) -> Pair:
    """Source tokens: the features' `values` or `source`; targets: the label's `values` or `target`. Marks of begin, end, padding are left out."""
    source = record.features.get("values") or record.features.get("source")
    target = record.label.get("values") or record.label.get("target") or record.features.get("target")
    if source is None or target is None:
        raise UserError("A record needs integer features 'values' and an integer label 'values'.")
    sides = [[int(token) for token in side.values.tolist() if int(token) not in (PAD, BEGIN, END)] for side in (source, target)]
    return sides[0], sides[1]


def _initialize(network: Any, given: dict[str, Any]) -> None:
    """weight_init_type and its scale, for every matrix."""
    import torch

    for weight in network.parameters():
        if weight.dim() < 2:
            continue
        inside, outside = weight[0].numel(), weight.shape[0]
        size = {"in": inside, "out": outside, "avg": (inside + outside) / 2}[given["xavier_factor_type"]]
        scale = abs(given["weight_init_scale"])
        torch.nn.init.uniform_(weight, *((-1, 1) if given["weight_init_type"] == "xavier" else (-scale, scale)))
        if given["weight_init_type"] == "xavier":
            weight.data *= math.sqrt(scale / size)
    for table in (network.embed_source, network.embed_target):
        table.weight.data[PAD] = 0


def _fit(network: Any, training: list[Pair], validation: list[Pair], given: dict[str, Any]) -> None:
    import torch

    rng, course = np.random.default_rng(neural.SEED), Course()
    steps = optimizer(
        given["optimizer_type"], network.parameters(), given["learning_rate"], decay=given["weight_decay"], momentum=given["momentum"] or 0
    )
    patience = Patience(given["checkpoint_threshold"], larger=given["optimized_metric"] in FEWER)
    epochs = given["max_num_epochs"] or 10**9
    for epoch in range(epochs):
        network.train()
        total: list[float] = []
        for picked in _batches(training, given["batch_size"], rng, bucketing=given["bucketing_enabled"]):
            loss = _loss(network, [training[place] for place in picked])[0]
            steps.zero_grad()
            loss.backward()
            if given["clip_gradient"] > 0:
                torch.nn.utils.clip_grad_value_(network.parameters(), given["clip_gradient"])
            steps.step()
            total.append(float(loss.detach()))
            course.updates += 1
            out = given["max_num_batches"] > 0 and course.updates >= given["max_num_batches"]
            if course.updates % given["checkpoint_frequency_num_batches"] == 0 or out:
                ends = _checkpoint(network, validation, given, course, steps, patience)
                ends = ends and given["max_num_epochs"] is None and epoch >= given["min_num_epochs"]
                if ends or out:
                    patience.restore(network)
                    return
                network.train()
        report.say(f"Epoch[{epoch}] Train-perplexity={math.exp(min(float(np.mean(total)), 700)):.6f}")
        if epoch + 1 == epochs:
            _checkpoint(network, validation, given, course, steps, patience)
    patience.restore(network)


def _batches(pairs: list[Pair], size: int, rng: np.random.Generator, *, bucketing: bool) -> list[NDArray[np.intp]]:
    """Places of pairs in random batches, of similar lengths when bucketing."""
    order = rng.permutation(len(pairs))
    if bucketing:
        order = np.array(sorted(order.tolist(), key=lambda place: max(map(len, pairs[place]))))
    cut = [order[first : first + size] for first in range(0, len(order), size)]
    return [cut[place] for place in rng.permutation(len(cut))]


def _loss(network: Any, pairs: list[Pair]) -> tuple[Any, float, int]:
    """(mean cross entropy, right tokens, tokens)."""
    import torch

    source = _padded([one for one, _ in pairs])
    target = _padded([[BEGIN, *other] for _, other in pairs])
    wanted = _padded([[*other, END] for _, other in pairs])
    found = network(source, target)
    there = wanted != PAD
    loss = torch.nn.functional.cross_entropy(found[there], wanted[there])
    return loss, float((found[there].argmax(1) == wanted[there]).sum()), int(there.sum())


def _padded(rows: list[list[int]]) -> Any:
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])


def _checkpoint(network: Any, validation: list[Pair], given: dict[str, Any], course: Course, steps: Any, patience: Patience) -> bool:
    """Measure, tell, set the learning rate; True when the best checkpoint is too long ago."""
    course.checkpoints += 1
    found = measure(network, validation, given)
    host = cluster().current_host
    for name, value in found.items():
        report.say(f"Checkpoint [{course.checkpoints}] Validation-{name}={value:.6f}")
        kind = "score" if name in FEWER else "loss"
        report.say(f"#quality_metric: host={host}, epoch={course.checkpoints}, validation {name} <{kind}>={value!r}")
    watched, before = found[given["optimized_metric"]], patience.best
    ends = patience.ends(watched, network)
    course.since = 0 if patience.best < before else course.since + 1
    rate = _rate(given, course, steps.param_groups[0]["lr"])
    for group in steps.param_groups:
        group["lr"] = rate
    return ends


def _rate(given: dict[str, Any], course: Course, now: float) -> float:
    passed = course.checkpoints / given["fixed_rate_lr_half_life"]
    if given["lr_scheduler_type"] == "fixed_rate_inv_t":
        return float(given["learning_rate"] / (1 + passed))
    if given["lr_scheduler_type"] == "fixed_rate_inv_sqrt_t":
        return float(given["learning_rate"] / math.sqrt(1 + 3 * passed))
    if course.since < given["plateau_reduce_lr_threshold"]:
        return now
    course.since = 0
    return float(now * given["plateau_reduce_lr_factor"])


def measure(network: Any, pairs: list[Pair], given: dict[str, Any]) -> dict[str, float]:
    """perplexity and accuracy; bleu of a sample where it is asked for."""
    import torch

    network.eval()
    total, right, count = 0.0, 0.0, 0
    with torch.no_grad():
        for first in range(0, len(pairs), 64):
            loss, hits, tokens = _loss(network, pairs[first : first + 64])
            total, right, count = total + float(loss) * tokens, right + hits, count + tokens
    found = {"perplexity": math.exp(min(total / count, 700)), "accuracy": right / count}
    sample = given["bleu_sample_size"] or (-1 if given["optimized_metric"] == "bleu" else 0)
    if sample:
        chosen = pairs if sample < 0 else pairs[:sample]
        answers = [translate(network, source, given["beam_size"], given["max_seq_len_target"])[0] for source, _ in chosen]
        found["bleu"] = corpus_bleu(answers, [target for _, target in chosen])
    return found


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(TranslationHandler(folders().model))
