"""Which entity uses which IPv4 address: vectors of both, whose product tells how usual a pair is.

An entity has a row of a hashed table. An address is the sum of its prefixes' vectors (8, 16, 24, 32 bits), so that neighbours resemble each
other and a network seen never before still has its surroundings; then layers h + tanh(hW + b). Trained against drawn and shuffled pairs.
Sources: Mikolov et al., "Distributed representations of words and phrases", NIPS 2013, section 2.2 (negative sampling); Weinberger et al.,
"Feature hashing for large scale multitask learning", ICML 2009; Kingma, Ba, "Adam", ICLR 2015.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.intp]
PREFIXES = (8, 16, 24, 32)
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class Settings:
    """entities: rows of the hashed table; random and shuffled: negative pairs for each real one."""

    entities: int
    size: int
    epochs: int = 10
    batch: int = 10_000
    rate: float = 0.001
    layers: int = 1
    random: int = 1
    shuffled: int = 1
    decay: float = 1e-5
    seed: int = 0


@dataclass(slots=True)
class Encoder:
    """entities (N, d); known: sorted prefixes per length; prefixes: per length (known + 1, d), row 0 for unknown; layers: (d, d), (d,) pairs."""

    entities: Vectors
    known: list[NDArray[np.uint32]]
    prefixes: list[Vectors]
    layers: list[tuple[Vectors, Vectors]]


Watcher = Callable[[int, Encoder], None]


def place(entities: Sequence[str], rows: int) -> Places:
    """The row of each entity in a hashed table.

    >>> bool(place(["a", "b", "a"], 10)[0] == place(["a"], 10)[0])
    True
    """
    return np.array([zlib.crc32(name.encode()) % rows for name in entities], dtype=np.intp)


def fit(entities: Places, addresses: NDArray[np.uint32], settings: Settings, *, watch: Watcher | None = None) -> Encoder:
    """Learn from pairs that were seen.

    entities: (n,) rows of the table (place). addresses: (n,) as numbers. watch(epoch, encoder) is called after each epoch.
    Raises ValueError when the lengths differ or no negative pairs are asked for.

    >>> people, homes = np.arange(2000) % 4, (np.arange(2000, dtype=np.uint32) % 4) << np.uint32(24)
    >>> found = fit(people, homes, Settings(4, 8, epochs=40, batch=200, rate=0.02))
    >>> bool(scores(found, people[:4], homes[:4]).min() > scores(found, people[:4], homes[1:5]).max())
    True
    """
    if len(entities) != len(addresses):
        raise ValueError(f"entities: {len(entities)} do not fit {len(addresses)} addresses")
    if settings.random + settings.shuffled < 1:
        raise ValueError("random: at least one negative pair is needed for each real one")
    rng = np.random.default_rng(settings.seed)
    trainer = _Trainer(_start(addresses, settings, rng), settings)
    for epoch in range(settings.epochs):
        order = rng.permutation(len(entities))
        for first in range(0, len(order), settings.batch):
            part = order[first : first + settings.batch]
            trainer.step(*pairs(entities[part], addresses[part], settings.random, settings.shuffled, rng))
        if watch is not None:
            watch(epoch, trainer.encoder)
    return trainer.encoder


def pairs(
    entities: Places, addresses: NDArray[np.uint32], random: int, shuffled: int, rng: np.random.Generator
) -> tuple[Places, NDArray[np.uint32], NDArray[np.float32]]:
    """The real pairs (1) and for each `random` with a drawn address and `shuffled` with another pair's address (0)."""
    drawn = rng.integers(0, 2**32, len(entities) * random, dtype=np.uint32)
    mixed = [addresses[rng.permutation(len(addresses))] for _ in range(shuffled)]
    times = 1 + random + shuffled
    labels = np.zeros(times * len(entities), np.float32)
    labels[: len(entities)] = 1
    return np.tile(entities, times), np.concatenate([addresses, drawn, *mixed]), labels


def encode(encoder: Encoder, addresses: NDArray[np.uint32]) -> Vectors:
    """(n, d) vectors of addresses."""
    return _forward(encoder, _prefix_places(encoder.known, addresses))[-1]


def scores(encoder: Encoder, entities: Places, addresses: NDArray[np.uint32]) -> Vectors:
    """The products of the pairs' vectors, (n,): the log of the odds that a pair is real rather than drawn."""
    found: Vectors = np.einsum("nd,nd->n", encoder.entities[entities], encode(encoder, addresses))
    return found


def _start(addresses: NDArray[np.uint32], settings: Settings, rng: np.random.Generator) -> Encoder:
    spread = np.float32(0.5 / np.sqrt(settings.size))

    def draw(rows: int) -> Vectors:
        return rng.standard_normal((rows, settings.size), np.float32) * spread

    known = [np.unique(addresses >> np.uint32(32 - length)) for length in PREFIXES]
    layers = [(draw(settings.size) * np.float32(0.1), np.zeros(settings.size, np.float32)) for _ in range(settings.layers)]
    return Encoder(draw(settings.entities), known, [draw(len(each) + 1) for each in known], layers)


def _prefix_places(known: list[NDArray[np.uint32]], addresses: NDArray[np.uint32]) -> list[Places]:
    """Per length the row of each address; 0 where its prefix is unknown."""
    found = []
    for length, prefixes in zip(PREFIXES, known, strict=True):
        mine = addresses >> np.uint32(32 - length)
        at = np.minimum(np.searchsorted(prefixes, mine), len(prefixes) - 1)
        found.append(np.where(prefixes[at] == mine, at + 1, 0))
    return found


def _forward(encoder: Encoder, places: list[Places]) -> list[Vectors]:
    """The address vectors before the first layer and after each."""
    total = np.zeros((len(places[0]), encoder.entities.shape[1]), np.float32)
    for table, rows in zip(encoder.prefixes, places, strict=True):
        total += table[rows]
    flow = [total]
    for weights, bias in encoder.layers:
        flow.append(flow[-1] + np.tanh(flow[-1] @ weights + bias))
    return flow


class _Trainer:
    """An encoder and Adam's moments; rows of tables move only in steps that have them."""

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        self.encoder, self.settings, self.count = encoder, settings, 0
        self.arrays: list[Vectors] = [encoder.entities, *encoder.prefixes, *(array for layer in encoder.layers for array in layer)]
        self.first = [np.zeros_like(array) for array in self.arrays]
        self.second = [np.zeros_like(array) for array in self.arrays]

    def step(self, entities: Places, addresses: NDArray[np.uint32], labels: NDArray[np.float32]) -> None:
        """One step against the mean of −y log p − (1−y) log(1−p), p = σ(e·h)."""
        places = _prefix_places(self.encoder.known, addresses)
        flow = _forward(self.encoder, places)
        mine = self.encoder.entities[entities]
        z = np.einsum("nd,nd->n", mine, flow[-1])
        miss = ((0.5 * (1 + np.tanh(0.5 * z)) - labels) / len(labels)).astype(np.float32)[:, None]
        back = miss * mine
        self.count += 1
        self._rows(0, entities, miss * flow[-1])
        for number in range(len(self.encoder.layers) - 1, -1, -1):
            weights, _ = self.encoder.layers[number]
            slope = back * (1 - (flow[number + 1] - flow[number]) ** 2)
            at = 1 + len(PREFIXES) + 2 * number
            back = back + slope @ weights.T
            self._move(at, slice(None), flow[number].T @ slope)
            self._move(at + 1, slice(None), slope.sum(axis=0))
        for number, rows in enumerate(places):
            self._rows(1 + number, rows, back)

    def _rows(self, number: int, rows: Places, slopes: Vectors) -> None:
        from scipy.sparse import csr_matrix

        where, at = np.unique(rows, return_inverse=True)
        ones = csr_matrix((np.ones(len(rows), np.float32), (at, np.arange(len(rows)))), shape=(len(where), len(rows)))
        self._move(number, where, ones @ slopes)

    def _move(self, number: int, where: Any, slope: Vectors) -> None:
        array = self.arrays[number]
        slope = slope + np.float32(self.settings.decay) * array[where]
        first = BETA_1 * self.first[number][where] + (1 - BETA_1) * slope
        second = BETA_2 * self.second[number][where] + (1 - BETA_2) * slope**2
        self.first[number][where], self.second[number][where] = first, second
        rate = self.settings.rate * np.sqrt(1 - BETA_2**self.count) / (1 - BETA_1**self.count)
        array[where] -= (rate * first / (np.sqrt(second) + EPSILON)).astype(np.float32)
