"""Sequence to sequence: an encoder, a decoder that looks back with attention, beam search (Bahdanau 2014, Luong 2015, Gehring 2017).

source → recurrent or convolutional encoder → states ┐
target so far → recurrent or convolutional decoder ──┴ attention → next token
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
ACTIVATIONS = {"relu": torch.relu, "softrelu": nn.functional.softplus, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Part:
    """How an encoder or a decoder is built."""

    kind: str  # rnn | cnn
    vocabulary: int
    embed: int
    hidden: int
    layers: int
    cell: str = "lstm"
    kernel: int = 3
    activation: str = "glu"
    dropout: float = 0.0
    embed_dropout: float = 0.0
    residual_from: int = 0  # 0: no residual connections, else the first layer that has one


class Recurrent(nn.Module):
    """Layers of LSTM or GRU; the first one of an encoder reads in both directions."""

    def __init__(self, part: Part, *, both_ways: bool) -> None:
        super().__init__()
        make = nn.LSTM if part.cell == "lstm" else nn.GRU
        self.part, inside = part, part.embed
        self.layers = nn.ModuleList()
        for place in range(part.layers):
            twice = both_ways and place == 0
            self.layers.append(make(inside, part.hidden // (2 if twice else 1), batch_first=True, bidirectional=twice))
            inside = part.hidden
        self.width = part.hidden

    def forward(self, seen: Any, states: Any = None) -> tuple[Any, list[Any]]:
        left = []
        for place, layer in enumerate(self.layers):
            found, state = layer(seen, None if states is None else states[place])
            left.append(state)
            first = self.part.residual_from
            seen = found + seen if first and place + 1 >= first and found.shape == seen.shape else found
        return seen, left


class Convolutional(nn.Module):
    """Convolutions with residual connections over embeddings with places; `causal` ones see only what came before."""

    def __init__(self, part: Part, *, causal: bool) -> None:
        super().__init__()
        self.part, self.causal, self.width = part, causal, part.hidden
        self.places = nn.Embedding(LONGEST, part.embed)
        self.inlet = nn.Linear(part.embed, part.hidden)
        times = 2 if part.activation == "glu" else 1
        self.layers = nn.ModuleList(nn.Conv1d(part.hidden, times * part.hidden, part.kernel) for _ in range(part.layers))
        self.dropout = nn.Dropout(part.dropout)

    def forward(self, seen: Any) -> Any:
        places = torch.arange(seen.shape[1]).clamp(max=LONGEST - 1)
        found = self.inlet(seen + self.places(places)).transpose(1, 2)
        lacks = self.part.kernel - 1
        sides = (lacks, 0) if self.causal else (lacks // 2, lacks - lacks // 2)
        for layer in self.layers:
            new = layer(nn.functional.pad(self.dropout(found), sides))
            new = nn.functional.glu(new, dim=1) if self.part.activation == "glu" else ACTIVATIONS[self.part.activation](new)
            found = (found + new) * 0.5**0.5
        return found.transpose(1, 2)


class Attention(nn.Module):
    """What of the source matters to a decoder's state: dot, bilinear, mlp, or fixed (its last step)."""

    def __init__(self, kind: str, asking: int, keys: int, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "bilinear" or (kind == "dot" and asking != keys):
            self.form = nn.Linear(asking, keys, bias=False)
        elif kind == "mlp":
            self.ask, self.key, self.score = nn.Linear(asking, hidden), nn.Linear(keys, hidden, bias=False), nn.Linear(hidden, 1, bias=False)

    def forward(self, asking: Any, keys: Any, there: Any) -> tuple[Any, Any]:
        """(contexts (n, targets, keys), weights (n, targets, sources))."""
        if self.kind == "fixed":
            last = there.sum(1).clamp(min=1) - 1
            scores = torch.where(torch.arange(keys.shape[1])[None] == last[:, None], 0.0, -1e9)[:, None].expand(-1, asking.shape[1], -1)
        elif self.kind == "mlp":
            scores = self.score(torch.tanh(self.ask(asking)[:, :, None] + self.key(keys)[:, None]))[..., 0]
        else:
            scores = (self.form(asking) if hasattr(self, "form") else asking) @ keys.transpose(1, 2)
        weights = torch.softmax(scores.masked_fill(~there[:, None], -1e9), dim=2)
        return weights @ keys, weights


class Translator(nn.Module):
    """Source and target tokens → scores of the next target token."""

    def __init__(self, source: Part, target: Part, *, attention: str, attention_hidden: int, begin: str = "last", dropout: float = 0.0) -> None:
        super().__init__()
        self.source, self.target, self.begin = source, target, begin
        self.embed_source = nn.Embedding(source.vocabulary, source.embed, padding_idx=PAD)
        self.embed_target = nn.Embedding(target.vocabulary, target.embed, padding_idx=PAD)
        self.drop_source, self.drop_target, self.drop = nn.Dropout(source.embed_dropout), nn.Dropout(target.embed_dropout), nn.Dropout(dropout)
        self.encoder: Any = Recurrent(source, both_ways=True) if source.kind == "rnn" else Convolutional(source, causal=False)
        self.decoder: Any = Recurrent(target, both_ways=False) if target.kind == "rnn" else Convolutional(target, causal=True)
        self.bridge = nn.Linear(self.encoder.width, target.hidden)
        self.attention = Attention(attention, self.decoder.width, self.encoder.width, attention_hidden)
        self.combine = nn.Linear(self.decoder.width + self.encoder.width, self.decoder.width)
        self.head = nn.Linear(self.decoder.width, target.vocabulary)

    def encode(self, tokens: Any) -> tuple[Any, Any]:
        """(states (n, sources, width), which of them are there)."""
        seen = self.drop_source(self.embed_source(tokens))
        return (self.encoder(seen)[0] if self.source.kind == "rnn" else self.encoder(seen)), tokens != PAD

    def start(self, states: Any, there: Any) -> Any:
        """The decoder's first state."""
        if self.target.kind == "cnn":
            return None
        marks = there.float()[:, :, None]
        last = states[torch.arange(len(states)), there.sum(1).clamp(min=1) - 1]
        chosen = {"last": last, "avg": (states * marks).sum(1) / marks.sum(1).clamp(min=1), "zero": torch.zeros_like(last)}[self.begin]
        first = torch.tanh(self.bridge(chosen))[None].contiguous()
        one = (first, torch.zeros_like(first)) if self.target.cell == "lstm" else first
        return [one] * self.target.layers

    def decode(self, tokens: Any, state: Any, states: Any, there: Any) -> tuple[Any, Any, Any]:
        """(scores (n, targets, vocabulary), state after them, attention)."""
        seen = self.drop_target(self.embed_target(tokens))
        found, state = self.decoder(seen, state) if self.target.kind == "rnn" else (self.decoder(seen), None)
        context, weights = self.attention(found, states, there)
        return self.head(self.drop(torch.tanh(self.combine(torch.cat([found, context], dim=2))))), state, weights

    def forward(self, source: Any, target: Any) -> Any:
        states, there = self.encode(source)
        return self.decode(target, self.start(states, there), states, there)[0]


def translate(network: Any, source: Sequence[int], beam: int, longest: int) -> tuple[list[int], list[list[float]]]:
    """(the likeliest target tokens by length-normalized log probability, attention of each to the source)."""
    with torch.no_grad():
        states, there = network.encode(torch.tensor([list(source) or [UNKNOWN]]))
        alive: list[tuple[float, list[int], Any, list[Any]]] = [(0.0, [BEGIN], network.start(states, there), [])]
        done: list[tuple[float, list[int], list[Any]]] = []
        for _ in range(longest):
            grown = _grow(network, alive, states, there, beam)
            done += [(score / len(tokens), tokens, seen) for score, tokens, _, seen in grown if tokens[-1] == END]
            alive = [one for one in grown if one[1][-1] != END][:beam]
            if len(done) >= beam or not alive:
                break
        done += [] if done else [(score / len(tokens), tokens, seen) for score, tokens, _, seen in alive]
        _, tokens, seen = max(done, key=lambda one: one[0])
        ends = tokens[-1] == END
        return tokens[1 : -1 if ends else None], [row.tolist() for row in (seen[:-1] if ends else seen)]


def _grow(network: Any, alive: list[tuple[float, list[int], Any, list[Any]]], states: Any, there: Any, beam: int) -> list[Any]:
    """The best continuations of all that are alive."""
    found: list[Any] = []
    for score, tokens, state, seen in alive:
        asked = tokens if network.target.kind == "cnn" else tokens[-1:]
        logits, after, weights = network.decode(torch.tensor([asked]), state, states, there)
        best = torch.log_softmax(logits[0, -1], dim=0)
        best[[PAD, BEGIN]] = float("-inf")
        values, places = best.topk(min(beam, len(best) - 2))
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            found.append((score + value, [*tokens, place], after, [*seen, weights[0, -1]]))
    return sorted(found, key=lambda one: -one[0])[: 2 * beam]
