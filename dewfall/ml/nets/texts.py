"""A small classifier of texts: words become vectors, convolutions see their neighbours, the strongest and the mean of each decide (Kim 2014)."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

PAD, UNKNOWN = 0, 1
WORD = re.compile(r"[^\W_]+|[^\w\s]")
LARGEST, LONGEST = 30_000, 400
WIDTHS = (3, 5)


def words(text: str) -> list[str]:
    """Lower-case words and marks.

    >>> words("It's 3 o'clock!")
    ['it', "'", 's', '3', 'o', "'", 'clock', '!']
    """
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """Numbers of the most frequent words; 0 and 1 stand for nothing and for unknown words."""
    counts = Counter(word for text in texts for word in words(text))
    return {word: number for number, (word, _) in enumerate(counts.most_common(LARGEST), 2)}


def encoded(texts: Iterable[str], table: dict[str, int]) -> Any:
    """(texts, longest) word numbers."""
    rows = [[table.get(word, UNKNOWN) for word in words(text)][:LONGEST] for text in texts]
    width = max(max(WIDTHS), *map(len, rows))
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


class TextClassifier(nn.Module):
    """Word numbers (n, length) → scores (n, classes)."""

    def __init__(self, size: int, classes: int, *, dim: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, dim, padding_idx=PAD)
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, dim, width, padding="same") for width in WIDTHS)
        self.dropout = nn.Dropout(dropout)
        self.top = nn.Linear(dim * (1 + len(WIDTHS)), classes)

    def forward(self, codes: Any) -> Any:
        there = (codes != PAD).float()[:, None]
        seen = self.embedding(codes).transpose(1, 2)
        mean = (seen * there).sum(2) / there.sum(2).clamp(min=1)
        strongest = [(torch.relu(convolution(seen)) * there).amax(2) for convolution in self.convolutions]
        return self.top(self.dropout(torch.cat([mean, *strongest], dim=1)))
