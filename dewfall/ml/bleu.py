"""BLEU: how much of a translation's word groups a reference has (Papineni et al. 2002)."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

ORDER = 4


def corpus_bleu(found: Sequence[Sequence[Hashable]], wanted: Sequence[Sequence[Hashable]]) -> float:
    """0 to 1 over all pairs of tokenized sentences, one reference each: the geometric mean of 1- to 4-gram precision, with brevity penalty.

    >>> corpus_bleu(["a b c d e".split()], ["a b c d e".split()])
    1.0
    >>> round(corpus_bleu(["the cat sat on a mat".split()], ["the cat sat on the mat".split()]), 4)
    0.5373
    """
    right, total = [0] * ORDER, [0] * ORDER
    for one, other in zip(found, wanted, strict=True):
        for size in range(1, ORDER + 1):
            groups, known = _groups(one, size), _groups(other, size)
            right[size - 1] += sum(min(count, known[group]) for group, count in groups.items())
            total[size - 1] += max(len(one) - size + 1, 0)
    if not all(right):
        return 0.0
    precision = sum(math.log(hits / count) for hits, count in zip(right, total, strict=True)) / ORDER
    lengths = sum(map(len, found)), sum(map(len, wanted))
    return math.exp(precision + min(0.0, 1 - lengths[1] / max(lengths[0], 1)))


def _groups(words: Sequence[Hashable], size: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(words[first : first + size]) for first in range(len(words) - size + 1))
