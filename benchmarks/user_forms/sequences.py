"""Text: a transformer on padded sequences, an LSTM language model, GPT-2 from a configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from benchmarks.user_forms.loop import STEPS, Settings, train
from betaplane import Problem

generator = torch.Generator().manual_seed(0)
lengths = torch.randint(3, 10, (96,), generator=generator)
sentences = [torch.randint(1, 12, (int(n),), generator=generator) for n in lengths]


def padded(rows: list[Tensor]) -> dict[str, Tensor]:
    tokens = pad_sequence(rows, batch_first=True)
    label = torch.stack([(row[0] > row[-1]).long() for row in rows])
    return {"tokens": tokens, "mask": tokens == 0, "label": label}


class Classifier(nn.Module):
    """A transformer that ignores the padding and averages the rest; dropout is on."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        hidden = self.layer(self.embed(tokens), src_key_padding_mask=mask)
        kept = (~mask).unsqueeze(-1).float()
        return self.head((hidden * kept).sum(1) / kept.sum(1))


sentence_loader = DataLoader(sentences, batch_size=12, shuffle=True, collate_fn=padded)  # type: ignore[arg-type]


def classify(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["tokens"], batch["mask"]), batch["label"])


def transformer_form() -> Problem:
    return Problem("transformer", Classifier, classify, data=sentence_loader, steps=STEPS)


def transformer_loop(settings: Settings, seed: int) -> list[float]:
    return train(settings, seed, Classifier, sentence_loader, classify)


class Windows(Dataset):
    """Windows of a text, with the next token as target."""

    text = torch.cumsum(torch.randint(1, 4, (400,), generator=generator), 0) % 17

    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        start = 16 * i
        return self.text[start : start + 16], self.text[start + 1 : start + 17]


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(17, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 17)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Any]:
        hidden, state = self.lstm(self.embed(tokens))
        return self.head(hidden), state


window_loader = DataLoader(Windows(), batch_size=8, shuffle=True)


def next_token(output: tuple[Tensor, Any], target: Tensor) -> Tensor:
    return F.cross_entropy(output[0].flatten(0, 1), target.flatten())


def lstm_form() -> Problem:
    return Problem("lstm", LSTM, next_token, data=window_loader, steps=STEPS)


def lstm_loop(settings: Settings, seed: int) -> list[float]:
    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return next_token(model(batch[0]), batch[1])

    return train(settings, seed, LSTM, window_loader, loss_of)


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=17, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    return GPT2LMHeadModel(config)


def with_labels(rows: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    tokens = torch.stack([row for row, _ in rows])
    return {"input_ids": tokens, "labels": tokens}


label_loader = DataLoader(Windows(), batch_size=8, shuffle=True, collate_fn=with_labels)


def gpt2_form() -> Problem:
    return Problem("gpt2", gpt2, None, data=label_loader, steps=STEPS)


def gpt2_loop(settings: Settings, seed: int) -> list[float]:
    return train(settings, seed, gpt2, label_loader, lambda model, batch: model(**batch).loss)
