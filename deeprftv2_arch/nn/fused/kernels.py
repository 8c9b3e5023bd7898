"""The compiled passes: each takes its part of a map through several steps of a block, a tile at a time.

Maps lie channels-last in memory: (H, W, C), or (P, C) where the order of pixels does not matter. Every kernel reads its
inputs once and writes nothing but its result, and what its gradient needs if that is asked for. Numbers of channels are
multiples of 16.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.pixels import add, copy, gate, gate_gelu, gelu, scale_shift, standardise, write
from deeprftv2_arch.nn.fused.products import WIDTHS, multiply  # noqa: F401
from deeprftv2_arch.nn.selective_scan.numba_math import FLAGS, compiled, f32
from deeprftv2_arch.nn.selective_scan.numba_simd import LANES, load, splat, store

PIXELS = 48
"""Pixels of a tile: a multiple of the rows of a block of sums."""
_COLUMNS = 256  # of three rows that wait for their convolution: with 96 channels they fill a quarter of a cache of 1 MB
_ZERO = f32(0)


@njit(**FLAGS)
def _convolve(rows, slots, start, end, c, weight, bias, out):
    """3x3 convolution for channels c..c+15 of columns start..end-1: out (16 for each). Column p stands at p + 1."""
    above, row, below = slots
    t0, t1, t2 = load(weight, (0, c)), load(weight, (1, c)), load(weight, (2, c))
    t3, t4, t5 = load(weight, (3, c)), load(weight, (4, c)), load(weight, (5, c))
    t6, t7, t8 = load(weight, (6, c)), load(weight, (7, c)), load(weight, (8, c))
    constant = load(bias, (c,))
    x0, x3, x6 = load(rows, (above, start, c)), load(rows, (row, start, c)), load(rows, (below, start, c))
    p = start + 1
    x1, x4, x7 = load(rows, (above, p, c)), load(rows, (row, p, c)), load(rows, (below, p, c))
    for p in range(start + 2, end + 2):
        x2, x5, x8 = load(rows, (above, p, c)), load(rows, (row, p, c)), load(rows, (below, p, c))
        top = constant + x0 * t0 + x1 * t1 + x2 * t2
        value = top + (x3 * t3 + x4 * t4 + x5 * t5) + (x6 * t6 + x7 * t7 + x8 * t8)
        store(out, ((p - start - 2) * LANES,), value)
        x0, x3, x6, x1, x4, x7 = x1, x4, x7, x2, x5, x8


@njit(**FLAGS)
def _fill(rows, slot, first, last):
    for p in range(first, last):
        for c in range(0, rows.shape[2], LANES):
            store(rows, (slot, p, c), splat(_ZERO))


@njit(**FLAGS)
def _expand_row(x, row, left, right, eps, weights, bias, rows, slot, standard, scales, tile):
    """One row of the expanded norm of x, columns left-1..right, into a slot of rows; zero outside of the map."""
    height, width, channels = x.shape
    if row < 0 or row >= height:
        _fill(rows, slot, 0, right - left + 2)
        return
    pixels = x.reshape(height * width, channels)
    first, last = max(left - 1, 0), min(right + 1, width)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        standardise(pixels, row * width + start, count, eps, standard, scales)
        multiply(standard, weights, bias, tile)
        write(tile, start - left + 1, count, rows[slot])
    if left == 0:
        _fill(rows, slot, 0, 1)
    if right == width:
        _fill(rows, slot, right - left + 1, right - left + 2)


@compiled
def norm_expand_depthwise(x, eps, weights, bias, taps, taps_bias, gates, out, sums, kept, first, last):
    """Rows first..last-1 of an activation of the 3x3 convolution of the expanded norm of x, and the sum of each row.

    The activation: the first half of the channels times the second if gates is true, else the GELU of all.

    x (H, W, C), weights packed (C -> L), bias (1, L), taps (9, L), taps_bias (L,), out (H, W, K), sums (H, K), zero;
    L is 2K or K. The expanded norm goes into kept (H, W, L), if that has any rows.
    """
    _, width, channels = out.shape
    rows = np.empty((3, min(width, _COLUMNS) + 2, taps.shape[1]), f32)
    standard, scales = np.zeros((PIXELS, x.shape[2]), f32), np.empty(PIXELS, f32)
    tile = np.empty((PIXELS, taps.shape[1]), f32)
    one, other = np.empty(PIXELS * LANES, f32), np.empty(PIXELS * LANES, f32)
    for left in range(0, width, _COLUMNS):
        right = min(left + _COLUMNS, width)
        for below in range(first - 1, last + 1):
            _expand_row(x, below, left, right, eps, weights, bias, rows, (below + 1) % 3, standard, scales, tile)
            row = below - 1
            if row < first:
                continue
            slots = row % 3, (row + 1) % 3, (row + 2) % 3
            if len(kept):
                write(rows[slots[1], 1:], left, right - left, kept[row])
            for start in range(0, right - left, PIXELS):
                end = min(start + PIXELS, right - left)
                for c in range(0, channels, LANES):
                    _convolve(rows, slots, start, end, c, taps, taps_bias, one)
                    if gates:
                        _convolve(rows, slots, start, end, c + channels, taps, taps_bias, other)
                    total = load(sums, (row, c))
                    for p in range(start, end):
                        i = ((p - start) * LANES,)
                        value = load(one, i) * load(other, i) if gates else gelu(load(one, i))
                        store(out, (row, left + p, c), value)
                        total = total + value
                    store(sums, (row, c), total)


@compiled
def update(x, base, weights, bias, out, first, last):
    """Pixels first..last-1 of base + x @ weights + bias: x (P, K), base (P, C), packed (K -> C), bias (1, C)."""
    part, tile = np.zeros((PIXELS, x.shape[1]), f32), np.empty((PIXELS, base.shape[1]), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        copy(x, start, count, part)
        multiply(part, weights, bias, tile)
        add(tile, base, start, count, out)


@compiled
def feed_forward(x, eps, expand, expand_bias, project, project_bias, out, kept, first, last):
    """Pixels first..last-1 of x (P, C) plus its gated pair: packed (C -> 2K), (K -> C), biases (1, 2K), (1, C).

    The expanded norm goes into kept (P, 2K), if that has any rows.
    """
    standard, scales = np.zeros((PIXELS, x.shape[1]), f32), np.empty(PIXELS, f32)
    expanded, tile = np.empty((PIXELS, expand_bias.shape[1]), f32), np.empty_like(standard)
    gated = np.empty((PIXELS, expanded.shape[1] // 2), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        standardise(x, start, count, eps, standard, scales)
        multiply(standard, expand, expand_bias, expanded)
        if len(kept):
            write(expanded, start, count, kept)
        gate(expanded, gated)
        multiply(gated, project, project_bias, tile)
        add(tile, x, start, count, out)


@compiled
def gated_update(
    scanned, source, base, scan_eps, scan_weight, scan_bias, eps, gates, gates_bias, weights, no_bias, out, kept, first,
    last,
):  # fmt: skip
    """Pixels first..last-1 of base + (norm(scanned) * gelu(norm(source) @ gates + gates_bias)) @ weights.

    scanned (P, D), source and base (P, C), packed gates (C -> D) and weights (D -> C), gates_bias (1, D), zeros (1, C).
    The gates before their GELU go into kept (P, D), if that has any rows.
    """
    standard, scales = np.zeros((PIXELS, source.shape[1]), f32), np.empty(PIXELS, f32)
    part, gating = np.zeros((PIXELS, scanned.shape[1]), f32), np.empty((PIXELS, scanned.shape[1]), f32)
    tile = np.empty((PIXELS, base.shape[1]), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        standardise(source, start, count, eps, standard, scales)
        multiply(standard, gates, gates_bias, gating)
        if len(kept):
            write(gating, start, count, kept)
        standardise(scanned, start, count, scan_eps, part, scales)
        scale_shift(part, scan_weight, scan_bias)
        gate_gelu(part, gating)
        multiply(part, weights, no_bias, tile)
        add(tile, base, start, count, out)
