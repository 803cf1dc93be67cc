"""Word vectors by batched skip-gram: the words around a target share its negative samples, so a step is a product of matrices.

Why it exists: BlazingText's `batch_skipgram` trains so (Gupta and Khare, "BlazingText", 2017, after Ji et al., "Parallelizing Word2Vec in
Shared and Distributed Memory", 2016). Plain skip-gram draws new negative samples for each pair of words and multiplies vectors.

                    target, negatives (shared)
    context words   +----------------------+
    (batch_size)    |  inputs . outputs^T  |  error = label - sigmoid(.)
                    +----------------------+
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Ids = NDArray[np.int32]
Floats = NDArray[np.float32]

POWER = 0.75  # of a word's count, in the draw of negative samples (word2vec)
FLOOR = 1e-4  # of the learning rate, which falls evenly to it
STEP_MIN, STEP_MAX, SHARE = 8, 128, 40  # targets of one step: a share of the vocabulary, lest one word be moved many times by old values
BLOCK = 200_000  # words that are thinned out and windowed together
CLIP = 8.0  # beyond it a sigmoid is 0 or 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text as numbers: `ids` of the words that are frequent enough, `sentences` the line that each stands in, `counts` by id."""

    words: list[str]
    counts: NDArray[np.int64]
    ids: Ids
    sentences: Ids


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train; names and defaults are BlazingText's."""

    vector_dim: int = 100
    window_size: int = 5
    negative_samples: int = 5
    batch_size: int = 11
    epochs: int = 5
    learning_rate: float = 0.05
    sampling_threshold: float = 1e-4
    seed: int = 0


def read_corpus(lines: Iterable[str], min_count: int) -> Corpus:
    """The lines' words, split at white space; those that occur less than `min_count` times are left out, as if they were not there.

    The most frequent word is the first. ValueError where no word is left.

    >>> read_corpus(["a b a", "c a"], 1).words
    ['a', 'b', 'c']
    """
    split = [line.split() for line in lines]
    found = Counter(word for line in split for word in line)
    kept = [(word, count) for word, count in found.most_common() if count >= min_count]
    if not kept:
        raise ValueError(f"no word occurs at least min_count times ({min_count})")
    number = {word: place for place, (word, _) in enumerate(kept)}
    pairs = [(number[word], row) for row, line in enumerate(split) for word in line if word in number]
    ids, sentences = np.array(pairs, np.int32).T
    return Corpus([word for word, _ in kept], np.array([count for _, count in kept]), ids.copy(), sentences.copy())


def train_batch_skipgram(corpus: Corpus, plan: Plan, told: Callable[[float, float], None] | None = None) -> tuple[Floats, Floats]:
    """(words' vectors, vectors as outputs), each (words, vector_dim); `told` hears the share that is done and the learning rate.

    Of each target's window (its width drawn anew between 1 and window_size) up to `batch_size` context words are inputs of one product
    with the target and `negative_samples` words that they share; a longer window is several such batches. Frequent words are thinned out
    by `sampling_threshold` as in word2vec.
    """
    rng = np.random.default_rng(plan.seed)
    size = len(corpus.words)
    inputs = ((rng.random((size, plan.vector_dim), np.float32) - np.float32(0.5)) / np.float32(plan.vector_dim)).astype(np.float32)
    outputs = np.zeros_like(inputs)
    share = corpus.counts / corpus.counts.sum()
    keep = np.minimum(1.0, np.sqrt(plan.sampling_threshold / share) + plan.sampling_threshold / share)
    draw = np.cumsum(corpus.counts**POWER)
    total, done = max(1, plan.epochs * len(corpus.ids)), 0
    for _ in range(plan.epochs):
        for ids, sentences in _blocks(corpus):
            chosen = rng.random(len(ids)) < keep[ids]
            steps = list(_steps(ids[chosen], sentences[chosen], plan, rng, size))
            for place, (targets, contexts) in enumerate(steps):
                rate = plan.learning_rate * max(FLOOR, 1 - (done + len(ids) * place / len(steps)) / total)
                negatives = np.searchsorted(draw, rng.random((len(targets), plan.negative_samples)) * draw[-1], side="right")
                _step(inputs, outputs, targets, contexts, np.minimum(negatives, size - 1), np.float32(rate))
            done += len(ids)
            if told is not None:
                told(done / total, plan.learning_rate * max(FLOOR, 1 - done / total))
    return inputs, outputs


def _blocks(corpus: Corpus) -> Iterator[tuple[Ids, Ids]]:
    for first in range(0, len(corpus.ids), BLOCK):
        yield corpus.ids[first : first + BLOCK], corpus.sentences[first : first + BLOCK]


def _steps(ids: Ids, sentences: Ids, plan: Plan, rng: np.random.Generator, size: int) -> Iterator[tuple[Ids, Ids]]:
    """(targets (n,), contexts (n, batch), -1 where there is none) in random order, of so many targets that a step may take."""
    if not len(ids):
        return
    window = plan.window_size
    offsets = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    places = np.arange(len(ids))[:, None] + offsets
    near = np.abs(offsets) <= rng.integers(1, window + 1, (len(ids), 1))
    inside = (places >= 0) & (places < len(ids)) & near
    places = places.clip(0, len(ids) - 1)
    contexts = np.where(inside & (sentences[places] == sentences[:, None]), ids[places], -1)
    groups = -(-2 * window // plan.batch_size)
    width = -(-2 * window // groups)
    contexts = np.pad(contexts, ((0, 0), (0, groups * width - 2 * window)), constant_values=-1).reshape(-1, width)
    targets = np.repeat(ids, groups)
    order = rng.permutation(np.flatnonzero((contexts >= 0).any(1)))
    many = min(max(size // SHARE, STEP_MIN), STEP_MAX)
    for first in range(0, len(order), many):
        picked = order[first : first + many]
        yield targets[picked], contexts[picked]


def _step(inputs: Floats, outputs: Floats, targets: Ids, contexts: Ids, negatives: NDArray[np.int64], rate: np.float32) -> None:
    """One step up the gradient for all targets, each with its contexts and negative samples."""
    is_word = contexts >= 0
    rows = np.concatenate([targets[:, None], negatives], 1)
    x, y = inputs[contexts], outputs[rows]
    error = -1 / (1 + np.exp(-np.clip(x @ y.transpose(0, 2, 1), -CLIP, CLIP)))
    error[:, :, 0] += 1
    error[:, :, 1:] *= (negatives != targets[:, None])[:, None, :]
    error *= is_word[:, :, None] * rate
    _add(inputs, contexts[is_word], (error @ y)[is_word])
    _add(outputs, rows.ravel(), (error.transpose(0, 2, 1) @ x).reshape(-1, outputs.shape[1]))


def _add(table: Floats, rows: NDArray[np.integer], changes: Floats) -> None:
    """table[row] += change, for rows that come several times, too."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    together = csr_matrix((np.ones(len(rows), np.float32), order, starts), shape=(len(starts) - 1, len(rows)))
    table[ordered[starts[:-1]]] += together @ changes
