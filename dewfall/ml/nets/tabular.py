"""TabTransformer: columns become vectors that attend to each other, a perceptron reads them all (Huang et al. 2020)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

HEADS = 8


class SharedEmbedding(nn.Module):
    """A table of a column's categories; a share of each vector is the column's own, the same for all its categories."""

    def __init__(self, kinds: int, dim: int, shared: float) -> None:
        super().__init__()
        self.common = nn.Parameter(torch.randn(int(dim * shared)) / dim**0.5)
        self.table = nn.Embedding(kinds, dim - len(self.common))

    def forward(self, codes: Any) -> Any:
        return torch.cat([self.table(codes), self.common.expand(len(codes), -1)], dim=1)


class TabTransformer(nn.Module):
    """codes (n, categorical columns), numbers (n, others) → (n, outputs); numbers are embedded too, and seen plain by the perceptron."""

    def __init__(
        self,
        cardinality: Sequence[int],
        numbers: int,
        outputs: int,
        *,
        dim: int = 32,
        blocks: int = 4,
        attention_dropout: float = 0.2,
        dropout: float = 0.1,
        shared: float = 0.25,
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(SharedEmbedding(kinds, dim, shared) for kinds in cardinality)
        self.slopes = nn.Parameter(torch.randn(numbers, dim) / dim**0.5)
        self.offsets = nn.Parameter(torch.zeros(numbers, dim))
        self.blocks = nn.ModuleList(Block(dim, attention_dropout, dropout) for _ in range(blocks))
        width = dim * (len(cardinality) + numbers) + numbers
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, outputs)
        )

    def forward(self, codes: Any, numbers: Any) -> Any:
        columns = [table(codes[:, place])[:, None] for place, table in enumerate(self.tables)]
        seen = torch.cat([*columns, numbers[:, :, None] * self.slopes + self.offsets], dim=1)
        for block in self.blocks:
            seen = block(seen)
        return self.perceptron(torch.cat([seen.flatten(1), numbers], dim=1))


class Block(nn.Module):
    """Attention among columns, then a feed-forward layer, each added to what came in."""

    def __init__(self, dim: int, attention_dropout: float, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, min(HEADS, dim // 2), dropout=attention_dropout, batch_first=True)
        self.forward_layer = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim))

    def forward(self, seen: Any) -> Any:
        calm = self.first(seen)
        seen = seen + self.attention(calm, calm, calm, need_weights=False)[0]
        return seen + self.forward_layer(self.second(seen))
