"""Steps on a tile of some pixels inside Numba kernels: arrays (pixels, channels), channels a multiple of 16."""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.selective_scan.numba_math import FLAGS, LOG2_E, exp2, f32
from deeprftv2_arch.nn.selective_scan.numba_simd import (
    LANES,
    load,
    minus_abs,
    splat,
    store,
    sum_lanes_of_rows,
    where_negative,
)

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


@njit(**FLAGS)
def gelu(x):
    """x P(X < x) = max(x, 0) - |x| P(X > |x|)."""
    m = minus_abs(x)
    t = _ONE / (_ONE - m * _P)
    tail = ((((((t * _G7 + _G6) * t + _G5) * t + _G4) * t + _G3) * t + _G2) * t + _G1) * t
    return where_negative(x, splat(_ZERO), x) + m * tail * exp2(m * m * _HALF_LOG2_E)


@njit(**FLAGS)
def normalise(x, first, count, weight, bias, eps, out):
    """Layer norm over the channels of pixels first..first+count-1 of x (P, C) -> the first rows of out (T, C)."""
    channels = x.shape[1]
    totals, scale = np.zeros(LANES * LANES, f32), np.zeros(LANES, f32)
    mean, share = np.zeros(LANES, f32), _ONE / f32(channels)
    # Sixteen pixels at a time: their sums over the channels fill the lanes of one vector.
    for begin in range(0, count, LANES):
        end = min(begin + LANES, count)
        for p in range(begin, end):
            total = splat(_ZERO)
            for c in range(0, channels, LANES):
                total = total + load(x, (first + p, c))
            store(totals, ((p - begin) * LANES,), total)
        store(mean, (0,), sum_lanes_of_rows(totals, (0,)) * share)
        for p in range(begin, end):
            total, m = splat(_ZERO), mean[p - begin]
            for c in range(0, channels, LANES):
                difference = load(x, (first + p, c)) - m
                store(out, (p, c), difference)
                total = total + difference * difference
            store(totals, ((p - begin) * LANES,), total)
        store(scale, (0,), sum_lanes_of_rows(totals, (0,)) * share)
        for p in range(begin, end):
            s = f32(_ONE / np.sqrt(scale[p - begin] + eps))
            for c in range(0, channels, LANES):
                store(out, (p, c), load(out, (p, c)) * (load(weight, (c,)) * s) + load(bias, (c,)))


@njit(**FLAGS)
def copy(x, first, count, out):
    """Pixels first..first+count-1 of x (P, C) -> the first rows of out (T, C)."""
    for p in range(count):
        for c in range(0, x.shape[1], LANES):
            store(out, (p, c), load(x, (first + p, c)))


@njit(**FLAGS)
def add(x, base, first, count, out):
    """Pixels first..first+count-1 of base (P, C) plus the first rows of x (T, C) -> the same pixels of out (P, C)."""
    for p in range(count):
        for c in range(0, x.shape[1], LANES):
            store(out, (first + p, c), load(base, (first + p, c)) + load(x, (p, c)))


@njit(**FLAGS)
def gate(x, out):
    """First half of the channels of x (T, 2C) times the second -> out (T, C)."""
    channels = out.shape[1]
    for p in range(out.shape[0]):
        for c in range(0, channels, LANES):
            store(out, (p, c), load(x, (p, c)) * load(x, (p, c + channels)))


@njit(**FLAGS)
def gate_gelu(x, gates):
    """x (T, C) *= gelu(gates (T, C))."""
    for p in range(x.shape[0]):
        for c in range(0, x.shape[1], LANES):
            store(x, (p, c), load(x, (p, c)) * gelu(load(gates, (p, c))))
