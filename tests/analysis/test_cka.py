"""Centred kernel alignment: its identities, and that the estimate over batches has no bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeprftv2_arch.analysis.cka import gram, linear_cka, minibatch_cka, unbiased_hsic


def features(seed: int, examples: int = 12, size: int = 30) -> torch.Tensor:
    return torch.randn(examples, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_of_a_representation_with_itself_is_one_whatever_its_rotation_and_scale():
    x = features(0)
    rotation, _ = torch.linalg.qr(features(1, 30, 30))
    for y in (x, 3.5 * x, x @ rotation):
        assert linear_cka(gram(x), gram(y)) == pytest.approx(1)
        assert minibatch_cka([gram(x)], [gram(y)]) == pytest.approx(1)


def test_the_grams_give_what_the_features_give():
    """Kornblith's first form: centred columns, squared norms of their products."""
    x, y = features(0), features(1, size=5)
    centred_x, centred_y = (z - z.mean(0) for z in (x, y))
    expected = (centred_y.T @ centred_x).norm() ** 2
    expected /= (centred_x.T @ centred_x).norm() * (centred_y.T @ centred_y).norm()
    assert linear_cka(gram(x), gram(y)) == pytest.approx(float(expected))


def test_a_gram_of_many_columns_is_summed_in_parts():
    x = torch.randn(4, 3, 50, 500)
    torch.testing.assert_close(gram(x), x.flatten(1).double() @ x.flatten(1).double().T)


def test_independent_data_have_an_estimate_of_zero_in_the_mean_and_only_the_unbiased_one():
    pairs = [(gram(features(2 * seed, 8, 40)), gram(features(2 * seed + 1, 8, 40))) for seed in range(400)]
    estimates = np.array([float(unbiased_hsic(x, y)) for x, y in pairs])
    assert abs(estimates.mean()) < 3 * estimates.std() / len(estimates) ** 0.5
    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.5
    assert abs(minibatch_cka(*zip(*pairs, strict=True))) < 0.05


def test_the_estimate_is_that_over_all_tuples_of_different_examples():
    """The definition of the U-statistic, summed in full."""
    x, y = gram(features(0, 6)), gram(features(1, 6))
    n, first, second, third = 6, [], [], []
    for i in range(n):
        for j in range(n):
            for q in range(n):
                if len({i, j, q}) == 3:
                    second.append(x[i, j] * y[i, q])
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        third.append(x[i, j] * y[q, r])
            if i != j:
                first.append(x[i, j] * y[i, j])
    expected = np.mean(first) - 2 * np.mean(second) + np.mean(third)
    assert float(unbiased_hsic(x, y)) == pytest.approx(float(expected))


def test_one_batch_of_all_is_the_estimate_of_all():
    x, y = gram(features(0)), gram(features(1))
    own = unbiased_hsic(x, x) * unbiased_hsic(y, y)
    assert minibatch_cka([x], [y]) == pytest.approx(float(unbiased_hsic(x, y) / own.sqrt()))


def test_fewer_than_four_examples_are_refused():
    with pytest.raises(ValueError, match='at least 4'):
        unbiased_hsic(torch.eye(3), torch.eye(3))
