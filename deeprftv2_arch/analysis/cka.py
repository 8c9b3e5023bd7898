"""Centred kernel alignment: how similar two representations of the same examples are (paper figure 8).

Linear CKA after Kornblith et al., ICML 2019; its unbiased estimate over minibatches after Nguyen, Raghu and Kornblith,
ICLR 2021. Only Gram matrices of the examples are kept, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Columns of a representation that are brought to float64 at a time.
_CHUNK = 1 << 16
LEAST_EXAMPLES = 4


def gram(features: Tensor) -> Tensor:
    """Return the products of all pairs of examples, (n, n), in float64.

    Args:
        features: (n, ...), one example each.
    """
    rows = features.flatten(1)
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(_CHUNK, dim=1):
        part = part.double().cpu()
        total += part @ part.T
    return total


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear CKA of two Gram matrices (n, n), in [0, 1]. Biased upwards where n is small."""
    x, y = _centred(x), _centred(y)
    return float((x * y).sum() / (x.norm() * y.norm()))


def unbiased_hsic(x: Tensor, y: Tensor) -> Tensor:
    """Estimate the HSIC of two Gram matrices (n, n) without bias, n >= 4: zero in the mean for independent examples.

    Raises:
        ValueError: Fewer than four examples.
    """
    n = len(x)
    if n < LEAST_EXAMPLES:
        raise ValueError(f'an unbiased estimate needs at least {LEAST_EXAMPLES} examples, got {n}')
    x, y = x - torch.diag(x.diagonal()), y - torch.diag(y.diagonal())
    trace = (x * y).sum()
    sums = x.sum() * y.sum() / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * (x.sum(0) @ y.sum(0))
    return (trace + sums - rows) / (n * (n - 3))


def minibatch_cka(x: Sequence[Tensor], y: Sequence[Tensor]) -> float:
    """Return the CKA of the Gram matrices of some batches, each term estimated without bias and then averaged.

    Returns:
        At most 1 in the mean, and about 0, also less, for independent examples; NaN where a representation does not
        vary.
    """
    pairs = list(zip(x, y, strict=True))
    between = sum(float(unbiased_hsic(a, b)) for a, b in pairs)
    own = sum(float(unbiased_hsic(a, a)) for a, _ in pairs) * sum(float(unbiased_hsic(b, b)) for _, b in pairs)
    return between / math.sqrt(own) if own > 0 else math.nan


def _centred(matrix: Tensor) -> Tensor:
    return matrix - matrix.mean(0, keepdim=True) - matrix.mean(1, keepdim=True) + matrix.mean()
