"""A language model of Hugging Face's form with a classifying head, fed with texts.

Why it exists: to classify texts one begins from a model that has read many. transformers knows its architectures; here the model, its
tokenizer and the head's parameters are one module that takes texts and gives scores, as dewfall.ml.nets.texts.TextClassifier does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

LONGEST = 512  # tokens of a text, where the model does not say less


class LanguageModel(nn.Module):
    """`config.json`, weights and tokenizer of a folder; `classes` scores a text, from a head of the model's kind.

    `fresh` draws the head anew; else the folder's own is kept, and ValueError raised where it has another number of classes. A folder whose
    weights lack the head, such as a model that was only pretrained, has it drawn in any case; `is_top_new` tells.
    """

    def __init__(self, folder: Path, classes: int, *, dropout: float | None = None, fresh: bool = False) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        config = AutoConfig.from_pretrained(folder, num_labels=classes)
        for name in ("classifier_dropout", "seq_classif_dropout"):
            if dropout is not None and hasattr(config, name):
                setattr(config, name, dropout)
        try:
            self.model, told = AutoModelForSequenceClassification.from_pretrained(
                folder, config=config, ignore_mismatched_sizes=fresh, output_loading_info=True
            )
        except RuntimeError as error:
            raise ValueError(f"the model's head is not of {classes} classes: {str(error).splitlines()[-1]}") from error
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.config.pad_token_id = self.tokenizer.pad_token_id
        positions = int(getattr(config, "max_position_embeddings", None) or LONGEST)
        self.longest = min(positions if positions > 0 else LONGEST, self.tokenizer.model_max_length, LONGEST)  # XLNet's -1: as many as you like
        self.is_top_new = fresh or any(not name.startswith(f"{self.model.base_model_prefix}.") for name in told["missing_keys"])
        if fresh:
            for module in self.top.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=float(getattr(config, "initializer_range", 0.02)))
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    @property
    def top(self) -> nn.ModuleList:
        """What stands on the language model: the head."""
        return nn.ModuleList(part for name, part in self.model.named_children() if name != self.model.base_model_prefix)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(texts, classes) scores."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        scores: torch.Tensor = self.model(**tokens).logits
        return scores

    def save(self, folder: Path, labels: Sequence[Any]) -> None:
        """The folder that transformers reads again; the classes are called by the labels."""
        self.model.config.id2label = {place: str(label) for place, label in enumerate(labels)}
        self.model.config.label2id = {str(label): place for place, label in enumerate(labels)}
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
