"""A neural topic model: a variational autoencoder whose hidden variable is a mixture of topics (Miao et al. 2017, Srivastava and Sutton 2017)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


class TopicModel(nn.Module):
    """Counts of words (n, vocabulary) → mean of the hidden variable (n, topics) → topic weights → words."""

    def __init__(self, vocabulary: int, topics: int, layers: Sequence[int], *, activation: str = "sigmoid", batch_norm: bool = False) -> None:
        super().__init__()
        parts: list[Any] = []
        width = vocabulary
        for size in layers:
            parts += [nn.Linear(width, size), *([nn.BatchNorm1d(size)] if batch_norm else []), ACTIVATIONS[activation]()]
            width = size
        self.encoder = nn.Sequential(*parts)
        self.mean, self.log_variance = nn.Linear(width, topics), nn.Linear(width, topics)
        self.decoder = nn.Linear(topics, vocabulary)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)

    def hidden(self, counts: Any) -> tuple[Any, Any]:
        """(mean, log variance) of the hidden variable."""
        found = self.encoder(torch.log1p(counts))
        return self.mean(found), self.log_variance(found)

    def weights(self, counts: Any) -> Any:
        """Topic weights (n, topics), each row sums to one."""
        return torch.softmax(self.hidden(counts)[0], dim=1)

    def losses(self, counts: Any) -> tuple[Any, Any]:
        """(reconstruction, Kullback-Leibler) in nats per document: the mean over documents, drawn once in training."""
        mean, log_variance = self.hidden(counts)
        drawn = mean + torch.randn_like(mean) * torch.exp(log_variance / 2) if self.training else mean
        words = torch.log_softmax(self.decoder(torch.softmax(drawn, dim=1)), dim=1)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return -(counts * words).sum(1).mean(), divergence.mean()

    def topics(self) -> Any:
        """(topics, vocabulary): how strongly each topic asks for each word."""
        return self.decoder.weight.detach().T


def uniqueness(topics: Sequence[Sequence[int]]) -> list[float]:
    """How much the top words of each topic are its own: the mean of one over the number of topics that have the word.

    >>> uniqueness([[1, 2], [2, 3]])
    [0.75, 0.75]
    """
    count: dict[int, int] = {}
    for topic in topics:
        for word in topic:
            count[word] = count.get(word, 0) + 1
    return [sum(1 / count[word] for word in topic) / max(len(topic), 1) for topic in topics]
