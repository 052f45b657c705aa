"""A small causal transformer that predicts the next character of a text file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def text(
    path: str | Path | None = None,
    width: int = 32,
    layers: int = 2,
    heads: int = 2,
    context: int = 32,
    batch_size: int = 16,
    steps: int = 1000,
    lr: float = 0.01,
    schedule: str = "constant",
    warmup: float = 0.0,
) -> Problem:
    """Predict the next character after each of `context` characters; the loss is the mean
    cross-entropy in nats per character.

    The model is a pre-norm transformer with learned positions, causal attention and no dropout. The
    examples are consecutive windows of the file; the vocabulary is the characters that occur.
    Without a file, the text is the language reference of Python (`pydoc_data.topics`, 465,048
    characters in Python 3.11), which differs between Python versions.

    Source: A. Vaswani and others, 2017, arXiv:1706.03762, decoder only; normalized before each
    block as by R. Xiong and others, 2020, arXiv:2002.04745.

    Args:
        path: a text file in UTF-8, or None.
        width: elements of a character's embedding, a multiple of heads.
        layers: transformer blocks, >= 1.
        heads: attention heads, >= 1.
        context: characters per window, >= 1.
        batch_size: windows per step, >= 1.
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.
        warmup: share of the steps spent on linear warmup, in [0, 1).

    Example:
        >>> problem = text(context=8)
        >>> problem.inputs.shape[1], bool((problem.inputs[:, 1:] == problem.targets[:, :-1]).all())
        (8, True)
    """
    at_least(1, "text", width=width, layers=layers, heads=heads, context=context)
    if width % heads:
        raise BadInput(
            "width is not a multiple of heads",
            value=width,
            allowed=f"{heads}, {2 * heads}, ...",
            where="text",
        )
    source = "Python's language reference" if path is None else str(path)
    characters = _default() if path is None else _read(Path(str(path)).expanduser())
    if len(characters) <= batch_size * context:
        raise BadInput(
            "The text is too short",
            value=f"{len(characters)} characters",
            allowed=f"at least batch_size x context + 1 = {batch_size * context + 1}",
            where=source,
        )
    inputs, targets, alphabet = _windows(characters, context)
    return Problem(
        "text",
        partial(_Transformer, alphabet, width, layers, heads, context),
        next_character,
        inputs,
        targets,
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        warmup=warmup,
        note=f"character language model, {layers}-layer transformer of width {width}, on {source}",
    )


def next_character(output: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, T, V) and characters (B, T)."""
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())


def _windows(characters: str, context: int) -> tuple[Tensor, Tensor, int]:
    """Consecutive windows of character ids, int64 (N, context), the same windows shifted by one
    character, and the size of the alphabet.
    """
    alphabet = {character: number for number, character in enumerate(sorted(set(characters)))}
    ids = torch.tensor([alphabet[character] for character in characters])
    whole = (len(ids) - 1) // context * context
    return ids[:whole].view(-1, context), ids[1 : whole + 1].view(-1, context), len(alphabet)


def _default() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[key] for key in sorted(topics))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        what = f"The text file cannot be read ({error.strerror})"
        raise BadInput(what, value=str(path), allowed="a text file") from None
    except UnicodeDecodeError as error:
        where = f"{path}, byte {error.start}"
        raise BadInput(
            "The text file is not UTF-8", value=error.object[error.start], where=where
        ) from None


class _Transformer(nn.Module):
    """Characters (B, T) to logits (B, T, V)."""

    def __init__(self, characters: int, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.Sequential(*(_Block(width, heads, context) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.characters(ids) + self.positions
        return self.head(self.norm(self.blocks(x)))


class _Block(nn.Module):
    """Attention and a two-layer network, each added to its input, (B, T, width)."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, context)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Attention(nn.Module):
    """Causal attention by plain matrix products, which torch.func.vmap batches over runs without a
    warning.
    """

    future: Tensor  # (T, T), bool, True for pairs of a position and a later one

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.register_buffer("future", torch.ones(context, context, dtype=torch.bool).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for part in self.qkv(x).chunk(3, -1)
        )
        scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).masked_fill(self.future, -torch.inf)
        return self.out((scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2))
