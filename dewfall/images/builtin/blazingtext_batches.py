"""BlazingText's mode batch_skipgram: dewfall.ml.words on the lines of channel train, written as fastText writes its models.

`vectors.bin` is fastText's file of words without subwords, so BlazingText's server and fastText itself read what either mode has made.
Of several hosts that share a sharded channel, the first one trains on the lines of all.
"""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images.builtin import hosts
from dewfall.images.contract import Channel, UserError, cluster, folders
from dewfall.ml.words import Corpus, Floats, Plan, read_corpus, train_batch_skipgram

NO_SUBWORDS = "Subword embedding learning is not supported by batch_skipgram. Please set subwords to False, or mode to skipgram or cbow."
MAGIC, VERSION, SKIPGRAM, NEGATIVES, UPDATES = 793712314, 12, 2, 2, 100  # fastText's: file, loss `ns`, model `sg`, lrUpdateRate
BETWEEN = 2.0  # seconds, between two lines on the progress


def gather(path: Path, channel: Channel) -> None:
    """The lines of every host, in this host's file; hosts other than the first are done when theirs are delivered."""
    if channel.distribution == "ShardedByS3Key" and len(cluster().hosts) > 1:
        parts = hosts.everywhere({"lines": np.frombuffer(path.read_bytes(), np.uint8)})
        path.write_bytes(b"".join(part["lines"].tobytes() for part in parts))


def train(given: dict[str, Any], path: Path) -> dict[str, Floats]:
    """Train, write vectors.bin; each word's vector."""
    if given["subwords"]:
        raise UserError(NO_SUBWORDS)
    plan = Plan(**{name: given[name] for name in Plan.__dataclass_fields__ if name in given})
    try:
        corpus = read_corpus(_lines(path), given["min_count"])
    except ValueError as error:
        raise UserError(f"Training failed: {error}. Verify that words occur at least min_count times.") from None
    words = plan.epochs * len(corpus.ids)
    told = _Progress(words)
    inputs, outputs = train_batch_skipgram(corpus, plan, told)
    print(f"Training finished!\nAverage throughput in Million words/sec: {told.speed(words):.2f}", flush=True)
    if not np.isfinite(inputs).all():
        raise UserError("Training diverged (Encountered NaN.) Please lower the learning rate.")
    with (folders().model / "vectors.bin").open("wb") as file:
        file.writelines(_binary(corpus, plan, given["min_count"], (inputs, outputs)))
    return dict(zip(corpus.words, inputs, strict=True))


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from file


class _Progress:
    """Lines on the progress as BlazingText's container writes them."""

    def __init__(self, words: int) -> None:
        self.words, self.began, self.last = words, time.monotonic(), 0.0

    def __call__(self, share: float, rate: float) -> None:
        if share < 1 and time.monotonic() - self.last < BETWEEN:
            return
        self.last = time.monotonic()
        print(f"##### Alpha: {rate:.4f}  Progress: {share:.2%}  Million Words/sec: {self.speed(share * self.words):.2f} #####", flush=True)

    def speed(self, words: float) -> float:
        """Millions of words a second."""
        return words / 1e6 / max(time.monotonic() - self.began, 1e-9)


def _binary(corpus: Corpus, plan: Plan, min_count: int, tables: tuple[Floats, Floats]) -> Iterator[bytes]:
    """fastText's file: arguments, dictionary, both tables."""
    yield struct.pack("<ii", MAGIC, VERSION)
    words = (plan.vector_dim, plan.window_size, plan.epochs, min_count, plan.negative_samples, 1, NEGATIVES, SKIPGRAM, 0, 0, 0, UPDATES)
    yield struct.pack("<12id", *words, plan.sampling_threshold)
    yield struct.pack("<iiiqq", len(corpus.words), len(corpus.words), 0, int(corpus.counts.sum()), -1)
    for word, count in zip(corpus.words, corpus.counts.tolist(), strict=True):
        yield word.encode() + b"\0" + struct.pack("<qb", count, 0)
    for table in tables:
        yield struct.pack("<?qq", False, *table.shape) + np.ascontiguousarray(table, "<f4").tobytes()
