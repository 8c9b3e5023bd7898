"""The loops of the fused passes: maps channels-last in memory, 16 channels at a time.

A pass of its own over a map costs its memory traffic and not its arithmetic, so each kernel here reads its inputs once
and writes nothing but its result. Numbers of channels are multiples of 16.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.selective_scan.numba_math import FLAGS, LOG2_E, compiled, exp2, f32
from deeprftv2_arch.nn.selective_scan.numba_simd import (
    LANES,
    load,
    minus_abs,
    splat,
    store,
    sum_lanes_of_rows,
    where_negative,
)

_TILE = 32  # pixels that are convolved before the next 16 channels are
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
def _gelu(x):
    """x P(X < x) = max(x, 0) - |x| P(X > |x|)."""
    m = minus_abs(x)
    t = _ONE / (_ONE - m * _P)
    tail = ((((((t * _G7 + _G6) * t + _G5) * t + _G4) * t + _G3) * t + _G2) * t + _G1) * t
    return where_negative(x, splat(_ZERO), x) + m * tail * exp2(m * m * _HALF_LOG2_E)


@njit(**FLAGS)
def _convolve(x, row, start, end, c, shift, weight, bias, out):
    """3x3 convolution of x + shift for channels c..c+15 of pixels start..end-1 of a row: out (16 for each pixel)."""
    height, width = x.shape[0], x.shape[1]
    above, below = max(row - 1, 0), min(row + 1, height - 1)
    # Rows outside of the map count as zero, and so do columns.
    a, b = f32(above < row), f32(below > row)
    t0, t1, t2 = load(weight, (0, c)) * a, load(weight, (1, c)) * a, load(weight, (2, c)) * a
    t3, t4, t5 = load(weight, (3, c)), load(weight, (4, c)), load(weight, (5, c))
    t6, t7, t8 = load(weight, (6, c)) * b, load(weight, (7, c)) * b, load(weight, (8, c)) * b
    s, constant, nothing = load(shift, (c,)), load(bias, (c,)), splat(_ZERO)
    x0, x3, x6 = nothing, nothing, nothing
    if start > 0:
        p = start - 1
        x0, x3, x6 = load(x, (above, p, c)) + s, load(x, (row, p, c)) + s, load(x, (below, p, c)) + s
    x1, x4, x7 = load(x, (above, start, c)) + s, load(x, (row, start, c)) + s, load(x, (below, start, c)) + s
    for p in range(start + 1, end + 1):
        x2, x5, x8 = nothing, nothing, nothing
        if p < width:
            x2, x5, x8 = load(x, (above, p, c)) + s, load(x, (row, p, c)) + s, load(x, (below, p, c)) + s
        top = constant + x0 * t0 + x1 * t1 + x2 * t2
        value = top + (x3 * t3 + x4 * t4 + x5 * t5) + (x6 * t6 + x7 * t7 + x8 * t8)
        store(out, ((p - start - 1) * LANES,), value)
        x0, x3, x6, x1, x4, x7 = x1, x4, x7, x2, x5, x8


@compiled
def depthwise_gate(x, shift, weight, bias, out, sums, first, last):
    """Rows first..last-1 of the gated 3x3 convolution of x + shift, and the sums of every row of the result.

    x (H, W, 2C), shift (2C,), weight (9, 2C), bias (2C,), out (H, W, C), sums (H, C), zero at first.
    """
    _, width, channels = out.shape
    one, other = np.empty(_TILE * LANES, f32), np.empty(_TILE * LANES, f32)
    for row in range(first, last):
        for start in range(0, width, _TILE):
            end = min(start + _TILE, width)
            for c in range(0, channels, LANES):
                _convolve(x, row, start, end, c, shift, weight, bias, one)
                _convolve(x, row, start, end, c + channels, shift, weight, bias, other)
                total = load(sums, (row, c))
                for p in range(start, end):
                    value = load(one, ((p - start) * LANES,)) * load(other, ((p - start) * LANES,))
                    store(out, (row, p, c), value)
                    total = total + value
                store(sums, (row, c), total)


@compiled
def depthwise_gelu(x, shift, weight, bias, out, first, last):
    """Rows first..last-1 of the GELU of the 3x3 convolution of the first C channels of x + shift.

    x (H, W, C or more), shift (C,), weight (9, C), bias (C,), out (H, W, C).
    """
    _, width, channels = out.shape
    tile = np.empty(_TILE * LANES, f32)
    for row in range(first, last):
        for start in range(0, width, _TILE):
            end = min(start + _TILE, width)
            for c in range(0, channels, LANES):
                _convolve(x, row, start, end, c, shift, weight, bias, tile)
                for p in range(start, end):
                    store(out, (row, p, c), _gelu(load(tile, ((p - start) * LANES,))))


@compiled
def gate(x, shift, out, first, last):
    """First half of the channels of x + shift times the second: x (P, 2C), shift (2C,), out (P, C)."""
    channels = out.shape[1]
    for p in range(first, last):
        for c in range(0, channels, LANES):
            d = c + channels
            store(out, (p, c), (load(x, (p, c)) + load(shift, (c,))) * (load(x, (p, d)) + load(shift, (d,))))


@compiled
def norm_gelu_gate(x, weight, bias, eps, gates, out, first, last):
    """Layer norm of x times the GELU of the last C channels of gates: x, out (P, C), gates (P, C or more)."""
    channels = out.shape[1]
    other = gates.shape[1] - channels
    totals, scale = np.zeros(LANES * LANES, f32), np.zeros(LANES, f32)
    mean, share = np.zeros(LANES, f32), _ONE / f32(channels)
    # Sixteen pixels at a time: their sums over the channels fill the lanes of one vector.
    for start in range(first, last, LANES):
        end = min(start + LANES, last)
        for p in range(start, end):
            total = splat(_ZERO)
            for c in range(0, channels, LANES):
                total = total + load(x, (p, c))
            store(totals, ((p - start) * LANES,), total)
        store(mean, (0,), sum_lanes_of_rows(totals, (0,)) * share)
        for p in range(start, end):
            total, m = splat(_ZERO), mean[p - start]
            for c in range(0, channels, LANES):
                difference = load(x, (p, c)) - m
                total = total + difference * difference
            store(totals, ((p - start) * LANES,), total)
        store(scale, (0,), sum_lanes_of_rows(totals, (0,)) * share)
        for p in range(start, end):
            m, s = mean[p - start], f32(_ONE / np.sqrt(scale[p - start] + eps))
            for c in range(0, channels, LANES):
                value = (load(x, (p, c)) - m) * s * load(weight, (c,)) + load(bias, (c,))
                store(out, (p, c), value * _gelu(load(gates, (p, other + c))))
