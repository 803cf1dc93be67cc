"""Batched skip-gram: the step against the formula pair by pair, what is learned from real text against Gensim's skip-gram."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from dewfall.ml import words
from dewfall.ml.words import Plan, read_corpus, train_batch_skipgram


def manual() -> list[str]:
    """Python's own language reference, as sentences."""
    from pydoc_data.topics import topics

    lines = re.split(r"[.:]\s", " ".join(topics.values()).lower())
    return [" ".join(re.findall(r"[a-z]+", line)) for line in lines]


def test_a_step_is_the_sum_of_its_pairs() -> None:
    rng = np.random.default_rng(0)
    inputs, outputs = (rng.normal(size=(6, 3)).astype(np.float32) for _ in range(2))
    targets, contexts, negatives = np.array([1, 2]), np.array([[0, 2, 2], [5, -1, 1]]), np.array([[3, 1], [0, 0]])
    found = inputs.copy(), outputs.copy()
    words._step(*found, targets, contexts, negatives, np.float32(0.1))
    wanted = inputs.copy(), outputs.copy()
    for target, near, drawn in zip(targets, contexts, negatives, strict=True):
        for one in near[near >= 0]:
            for other, label in [(target, 1), *((word, 0) for word in drawn if word != target)]:
                slope = 0.1 * (label - 1 / (1 + np.exp(-inputs[one] @ outputs[other])))
                wanted[0][one] += slope * outputs[other]
                wanted[1][other] += slope * inputs[one]
    assert np.allclose(found, wanted, atol=1e-5)


def test_windows_stay_in_their_sentence_and_long_ones_are_several_batches() -> None:
    corpus = read_corpus(["a b c d", "e f"], 1)
    plan = Plan(window_size=3, batch_size=2)
    steps = [step for seed in range(20) for step in words._steps(corpus.ids, corpus.sentences, plan, np.random.default_rng(seed), 6)]
    pairs = {
        (int(target), int(word)) for targets, contexts in steps for target, row in zip(targets, contexts, strict=True) for word in row if word >= 0
    }
    groups = [{corpus.words.index(word) for word in line} for line in ("abcd", "ef")]
    assert pairs == {(one, two) for group in groups for one in group for two in group if one != two}
    assert all(contexts.shape[1] == 2 for _, contexts in steps)


def auc(inputs: NDArray[np.float32], outputs: NDArray[np.float32], index: dict[str, int], lines: list[str]) -> float:
    """How often a word's neighbour in unseen lines is thought nearer than a word from elsewhere in them."""
    pairs = [
        (index[one], index[two]) for line in lines for one, two in zip(line.split(), line.split()[1:], strict=False) if one in index and two in index
    ]
    ones, twos = np.array(pairs).T
    others = np.random.default_rng(0).permutation(twos)
    return float(((inputs[ones] * outputs[twos]).sum(1) > (inputs[ones] * outputs[others]).sum(1)).mean())


def test_neighbours_are_foretold_as_well_as_by_gensim() -> None:
    gensim = pytest.importorskip("gensim.models")
    lines = manual()
    known, unseen = lines[: len(lines) * 3 // 4], lines[len(lines) * 3 // 4 :]
    given = {"sg": 1, "vector_size": 32, "window": 5, "min_count": 5, "epochs": 3, "negative": 5, "alpha": 0.05, "sample": 1e-3, "workers": 1}
    theirs = gensim.Word2Vec([line.split() for line in known], seed=1, **given)
    corpus = read_corpus(known, 5)
    inputs, outputs = train_batch_skipgram(corpus, Plan(vector_dim=32, epochs=3, sampling_threshold=1e-3))
    found = auc(inputs, outputs, {word: place for place, word in enumerate(corpus.words)}, unseen)
    assert found > auc(theirs.wv.vectors, theirs.syn1neg, theirs.wv.key_to_index, unseen) - 0.04 > 0.5
