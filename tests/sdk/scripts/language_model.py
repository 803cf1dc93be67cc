"""A causal transformer of characters, trained on the files of channel training; prints its loss on text that it has not seen."""

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

SIZE, CONTEXT, HEADS, LAYERS = 64, 64, 4, 2


class LanguageModel(nn.Module):  # type: ignore[misc]
    def __init__(self, characters: int) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(characters, SIZE), nn.Embedding(CONTEXT, SIZE)
        layer = nn.TransformerEncoderLayer(SIZE, HEADS, 4 * SIZE, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(SIZE, characters)

    def forward(self, codes: Any) -> Any:
        steps = codes.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(steps)
        return self.head(self.layers(self.letters(codes) + self.places(torch.arange(steps)), mask=mask, is_causal=True))


def batch(codes: Any, size: int) -> tuple[Any, Any]:
    starts = torch.randint(0, len(codes) - CONTEXT - 1, (size,))
    rows = torch.stack([codes[start : start + CONTEXT + 1] for start in starts.tolist()])
    return rows[:, :-1], rows[:, 1:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    text = "".join(path.read_text() for path in sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).iterdir()))
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    known, unseen = codes[: int(len(codes) * 0.9)], codes[int(len(codes) * 0.9) :]
    model = LanguageModel(len(letters))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        inputs, targets = batch(known, 32)
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} train {loss.item():.4f}", flush=True)
    with torch.no_grad():
        inputs, targets = batch(unseen, 128)
        loss = nn.functional.cross_entropy(model.eval()(inputs).flatten(0, 1), targets.flatten())
    print(f"loss={loss.item():.6f};", flush=True)
    torch.save({"letters": letters, "weights": model.state_dict()}, os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))


if __name__ == "__main__":
    main()
