"""Steps on a tile of some pixels inside Numba kernels: arrays (pixels, channels), channels a multiple of a vector."""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.kernels.build import FLAGS
from deeprftv2_arch.nn.kernels.simd import (
    LANES,
    load,
    minus_abs,
    splat,
    store,
    sum_lanes_of_rows,
    where_negative,
)
from deeprftv2_arch.nn.kernels.vector_math import LOG2_E, exp2, f32

_ZERO, _ONE = f32(0), f32(1)
# exp(x^2 / 2) P(X > |x|) of a normal X as a polynomial in t = 1 / (1 + p |x|) without constant term; minimax fit by
# linear programming of the absolute error of |x| P(X > |x|), below 4e-9.
_P = f32(0.26)
_G1, _G2, _G3, _G4, _G5, _G6, _G7 = (
    f32(v)
    for v in (
        0.10701220873773128, 0.07894013637308891, 0.1673100263580778, 0.001442632476129548,
        0.054614203481507355, 0.14603869640762732, -0.05535791420710754,
    )
)  # fmt: skip
_HALF_LOG2_E = f32(-0.5) * LOG2_E
_BELL = f32(0.3989422804014327)  # 1 / sqrt(2 pi)


@njit(**FLAGS)
def _tail(m):
    """Return P(X > |x|) for m = -|x|, and exp(-x^2 / 2)."""
    t = _ONE / (_ONE - m * _P)
    bell = exp2(m * m * _HALF_LOG2_E)
    return (((((((t * _G7 + _G6) * t + _G5) * t + _G4) * t + _G3) * t + _G2) * t + _G1) * t) * bell, bell


@njit(**FLAGS)
def gelu(x):
    """x P(X < x) = max(x, 0) - |x| P(X > |x|)."""
    m = minus_abs(x)
    tail, _ = _tail(m)
    return where_negative(x, splat(_ZERO), x) + m * tail


@njit(**FLAGS)
def gelu_and_slope(x):
    """Return gelu(x) and its derivative P(X < x) + x exp(-x^2 / 2) / sqrt(2 pi)."""
    m = minus_abs(x)
    tail, bell = _tail(m)
    below = where_negative(x, tail, _ONE - tail)
    return where_negative(x, splat(_ZERO), x) + m * tail, below + x * bell * _BELL


@njit(**FLAGS)
def standardise(x, first, count, eps, out, scales):
    """Layer norm over the channels, without weight and bias, of pixels first..first+count-1 of x (P, C).

    Goes into the first rows of out (T, C); what the centred values were multiplied by into scales (T,).
    """
    channels = x.shape[1]
    totals, scale = np.zeros(LANES * LANES, f32), np.zeros(LANES, f32)
    mean, inverse = np.zeros(LANES, f32), _ONE / f32(channels)
    # Sixteen pixels at a time: their sums over the channels fill the lanes of one vector.
    for begin in range(0, count, LANES):
        end = min(begin + LANES, count)
        for p in range(begin, end):
            total = splat(_ZERO)
            for c in range(0, channels, LANES):
                total = total + load(x, (first + p, c))
            store(totals, ((p - begin) * LANES,), total)
        store(mean, (0,), sum_lanes_of_rows(totals, (0,)) * inverse)
        for p in range(begin, end):
            total, m = splat(_ZERO), mean[p - begin]
            for c in range(0, channels, LANES):
                difference = load(x, (first + p, c)) - m
                store(out, (p, c), difference)
                total = total + difference * difference
            store(totals, ((p - begin) * LANES,), total)
        store(scale, (0,), sum_lanes_of_rows(totals, (0,)) * inverse)
        for p in range(begin, end):
            s = f32(_ONE / np.sqrt(scale[p - begin] + eps))
            scales[p] = s
            for c in range(0, channels, LANES):
                store(out, (p, c), load(out, (p, c)) * s)


@njit(**FLAGS)
def add_standardise_gradient(gradient, standard, scales, count, out, first):
    """Pixels first..first+count-1 of out (P, C) += the gradient of `standardise`.

    s (g - mean(g) - y mean(g y)), with g the first rows of gradient (T, C), y those of standard (T, C), s of scales.
    """
    channels = gradient.shape[1]
    totals, products = np.zeros(LANES * LANES, f32), np.zeros(LANES * LANES, f32)
    mean, slope, inverse = np.zeros(LANES, f32), np.zeros(LANES, f32), _ONE / f32(channels)
    for begin in range(0, count, LANES):
        end = min(begin + LANES, count)
        for p in range(begin, end):
            total, product = splat(_ZERO), splat(_ZERO)
            for c in range(0, channels, LANES):
                g = load(gradient, (p, c))
                total = total + g
                product = product + g * load(standard, (p, c))
            store(totals, ((p - begin) * LANES,), total)
            store(products, ((p - begin) * LANES,), product)
        store(mean, (0,), sum_lanes_of_rows(totals, (0,)) * inverse)
        store(slope, (0,), sum_lanes_of_rows(products, (0,)) * inverse)
        for p in range(begin, end):
            m, n, s = mean[p - begin], slope[p - begin], scales[p]
            for c in range(0, channels, LANES):
                value = (load(gradient, (p, c)) - m - load(standard, (p, c)) * n) * s
                store(out, (first + p, c), load(out, (first + p, c)) + value)


@njit(**FLAGS)
def copy(x, first, count, out):
    """Copy pixels first..first+count-1 of x (P, C) to the first rows of out (T, C)."""
    for p in range(count):
        for c in range(0, x.shape[1], LANES):
            store(out, (p, c), load(x, (first + p, c)))


@njit(**FLAGS)
def write(x, first, count, out):
    """Write the first rows of x (T, C) to pixels first..first+count-1 of out (P, C)."""
    for p in range(count):
        for c in range(0, x.shape[1], LANES):
            store(out, (first + p, c), load(x, (p, c)))


@njit(**FLAGS)
def add(x, base, first, count, out):
    """Pixels first..first+count-1 of base (P, C) plus the first rows of x (T, C) -> the same pixels of out (P, C)."""
    for p in range(count):
        for c in range(0, x.shape[1], LANES):
            store(out, (first + p, c), load(base, (first + p, c)) + load(x, (p, c)))


@njit(**FLAGS)
def add_sum(x, out):
    """out (C,) += the sum of the rows of x (T, C)."""
    for c in range(0, x.shape[1], LANES):
        total = load(out, (c,))
        for p in range(x.shape[0]):
            total = total + load(x, (p, c))
        store(out, (c,), total)


@njit(**FLAGS)
def gate(x, out):
    """First half of the channels of x (T, 2C) times the second -> out (T, C)."""
    channels = out.shape[1]
    for p in range(out.shape[0]):
        for c in range(0, channels, LANES):
            store(out, (p, c), load(x, (p, c)) * load(x, (p, c + channels)))


@njit(**FLAGS)
def gate_gradient(gradient, x, out):
    """Compute the gradient of `gate`: gradient (T, C) of its result, x (T, 2C) -> out (T, 2C)."""
    channels = gradient.shape[1]
    for p in range(out.shape[0]):
        for c in range(0, channels, LANES):
            g = load(gradient, (p, c))
            store(out, (p, c), g * load(x, (p, c + channels)))
            store(out, (p, c + channels), g * load(x, (p, c)))


@njit(**FLAGS)
def scale_shift(x, weight, bias):
    """x (T, C) = x * weight + bias, per channel."""
    for p in range(x.shape[0]):
        for c in range(0, x.shape[1], LANES):
            store(x, (p, c), load(x, (p, c)) * load(weight, (c,)) + load(bias, (c,)))


@njit(**FLAGS)
def gate_gelu(x, gates):
    """x (T, C) *= gelu(gates (T, C))."""
    for p in range(x.shape[0]):
        for c in range(0, x.shape[1], LANES):
            store(x, (p, c), load(x, (p, c)) * gelu(load(gates, (p, c))))
