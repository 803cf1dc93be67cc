"""Object2Vec's network: two encoders of token sequences, a comparison of their vectors, a perceptron that scores the pair."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

NETWORKS = ("hcnn", "bilstm", "pooled_embedding")
AUTO_LAYERS = {"hcnn": 4, "bilstm": 1, "pooled_embedding": 1}
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "linear": nn.Identity}


class Encoder(nn.Module):
    """Tokens (n, length), `vocabulary` standing for nothing → vectors (n, width)."""

    def __init__(self, network: str, table: Any, *, layers: int, filter_width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.table, self.network, self.dropout = table, network, nn.Dropout(dropout)
        size = table.embedding_dim
        self.width = size if network == "pooled_embedding" else dim
        if network == "hcnn":
            self.convolutions = nn.ModuleList(nn.Conv1d(size, size, filter_width, padding="same") for _ in range(layers))
            self.project = nn.Linear(size * layers, dim)
        elif network == "bilstm":
            self.recurrent = nn.LSTM(size, max(size // 2, 1), layers, batch_first=True, bidirectional=True)
            self.project = nn.Linear(2 * max(size // 2, 1), dim)

    def forward(self, tokens: Any) -> Any:
        there = (tokens != self.table.padding_idx).unsqueeze(2).float()
        found = self.dropout(self.table(tokens))
        if self.network == "pooled_embedding":
            return (found * there).sum(1) / there.sum(1).clamp(min=1)
        if self.network == "bilstm":
            return torch.relu(self.project(_highest(self.recurrent(found)[0], there)))
        pooled, layer = [], found.transpose(1, 2)
        for convolution in self.convolutions:
            layer = torch.relu(convolution(layer)) * there.transpose(1, 2)
            pooled.append(layer.amax(2))
        return torch.relu(self.project(torch.cat(pooled, dim=1)))


def _highest(values: Any, there: Any) -> Any:
    """The maximum over the steps that are there; zero where none is."""
    return torch.where(there.sum(1) > 0, values.masked_fill(there == 0, float("-inf")).amax(1), torch.zeros(()))


class PairModel(nn.Module):
    """`encoders`: two dictionaries with network, vocabulary, token_dim, layers, filter_width."""

    def __init__(
        self,
        encoders: Sequence[dict[str, Any]],
        *,
        tied: bool,
        dim: int,
        comparators: Sequence[str],
        mlp_layers: int,
        mlp_dim: int,
        activation: str,
        outputs: int,
        dropout: float,
    ) -> None:
        super().__init__()
        tables = [nn.Embedding(one["vocabulary"] + 1, one["token_dim"], padding_idx=one["vocabulary"]) for one in encoders]
        tables = [tables[0], tables[0] if tied else tables[1]]
        self.encoders = nn.ModuleList(
            Encoder(one["network"], table, layers=one["layers"], filter_width=one["filter_width"], dim=dim, dropout=dropout)
            for one, table in zip(encoders, tables, strict=True)
        )
        self.comparators = list(comparators)
        widths = [encoder.width for encoder in self.encoders]
        width = sum({"hadamard": widths[0], "abs_diff": widths[0], "concat": sum(widths)}[name] for name in comparators)
        parts: list[Any] = []
        for _ in range(mlp_layers):
            parts += [nn.Linear(width, mlp_dim), ACTIVATIONS[activation](), nn.Dropout(dropout)]
            width = mlp_dim
        self.perceptron = nn.Sequential(*parts, nn.Linear(width, outputs))

    def forward(self, first: Any, second: Any) -> Any:
        """Scores of classes before the softmax, or one predicted number (n, outputs)."""
        left, right = self.encoders[0](first), self.encoders[1](second)
        made = {"hadamard": lambda: left * right, "abs_diff": lambda: (left - right).abs(), "concat": lambda: torch.cat([left, right], dim=1)}
        return self.perceptron(torch.cat([made[name]() for name in self.comparators], dim=1))
