"""Logistic regression on bags of words with Zipf's frequencies: the rows of the embedding receive
gradients at very different rates.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def sparse(
    words: int = 300,
    documents: int = 8192,
    length: int = 16,
    exponent: float = 1.5,
    batch_size: int = 32,
    steps: int = 2000,
    lr: float = 0.1,
    schedule: str = "constant",
) -> Problem:
    r"""Logistic regression on bags of words: a few words are in every text, and most are rare.

    ```
    P(word k)   ~ k^-exponent, k = 1..words;   a text is `length` independent words
    logit(text) = sum over its words of w_k;   label = 1 if the sum of the true weights is positive
    ```

    The model is an embedding with one element per word. For frequent words, the curvature of a row
    is proportional to the square of the word's frequency. With a learning rate at which SGD is
    stable on the first rows, the rare rows hardly move; Adam gives every row its own rate.

    Source: the setting that AdaGrad was designed for, J. Duchi, E. Hazan, Y. Singer, 2011, JMLR 12.

    Args:
        words: number of words (rows), >= 2.
        documents: number of texts, >= 1.
        length: words per text, >= 1.
        exponent: Zipf's exponent, >= 0.
        batch_size: texts per step, in [1, documents].
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.

    Example:
        >>> problem = sparse()
        >>> problem.inputs.shape, problem.inputs.unique(return_counts=True)[1][:3].tolist()
        (torch.Size([8192, 16]), [52488, 18473, 10055])
    """
    at_least(2, "sparse", words=words)
    at_least(1, "sparse", documents=documents, length=length)
    at_least(0, "sparse", exponent=exponent)
    generator = torch.Generator().manual_seed(0)
    frequency = torch.arange(1, words + 1, dtype=torch.float64) ** -exponent
    texts = torch.multinomial(
        frequency.expand(documents, -1), length, replacement=True, generator=generator
    )
    truth = torch.randn(words, generator=generator, dtype=torch.float64)
    truth -= (frequency @ truth) / frequency.sum()  # about as many positive texts as negative ones
    return Problem(
        "sparse",
        partial(_Bag, words),
        nn.functional.binary_cross_entropy_with_logits,
        inputs=texts,
        targets=(truth[texts].sum(1) > 0).float(),
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        note=f"logistic regression on bags of {words} words with Zipf's frequencies",
    )


class _Bag(nn.Module):
    """One weight per word, initially 0; forward of texts (B, length) is the sum of the weights of
    their words, (B,).
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.rows = nn.Embedding.from_pretrained(torch.zeros(words, 1), freeze=False)

    def forward(self, texts: Tensor) -> Tensor:
        return self.rows(texts).sum((1, 2))
