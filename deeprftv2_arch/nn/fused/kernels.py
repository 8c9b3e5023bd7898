"""The compiled passes: each takes its part of a map through several steps of a block, a tile at a time.

Maps lie channels-last in memory: (H, W, C), or (P, C) where the order of pixels does not matter. Every kernel reads its
inputs once and writes nothing but its result, and what its gradient needs if that is asked for. Numbers of channels are
multiples of a vector.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.convolution import convolve, fill_zero, part_columns, slots_around
from deeprftv2_arch.nn.fused.pixels import add, copy, gate, gate_gelu, gelu, scale_shift, standardise, write
from deeprftv2_arch.nn.fused.products import multiply, whole_blocks
from deeprftv2_arch.nn.kernels.build import FLAGS, compiled
from deeprftv2_arch.nn.kernels.simd import LANES, load, store
from deeprftv2_arch.nn.kernels.vector_math import f32

PIXELS = 96
"""Pixels of a tile: a multiple of the rows of a block of sums."""


@njit(**FLAGS)
def _expand_row(x, row, left, right, eps, weights, bias, ring, standard, scales, tile):
    """Columns left-1..right of a row of the expanded norm of x into its slot of the ring; zero outside of the map."""
    height, width, channels = x.shape
    slot, columns = row % 3, right - left + 2
    if row < 0 or row >= height:
        fill_zero(ring, slot, 0, columns)
        return
    first, last = max(left - 1, 0), min(right + 1, width)
    count, start = last - first, first - left + 1
    standardise(x.reshape(height * width, channels), row * width + first, count, eps, standard, scales)
    multiply(standard, count, weights, bias, tile)
    fill_zero(ring, slot, 0, start)
    write(tile, start, count, ring[slot])
    fill_zero(ring, slot, start + count, columns)


@compiled
def norm_expand_depthwise(x, eps, weights, bias, taps, taps_bias, gates, out, sums, kept, first, last):
    """Rows first..last-1 of an activation of the 3x3 convolution of the expanded norm of x, and the sum of each row.

    The activation: the first half of the channels times the second if gates is true, else the GELU of all.

    x (H, W, C), weights packed (C -> L), bias (1, L), taps (9, L), taps_bias (L,), out (H, W, K), sums (H, K), zero;
    L is 2K or K. The expanded norm goes into kept (H, W, L), if that has any rows.
    """
    _, width, channels = out.shape
    columns = part_columns(width)
    ring, tile = (
        np.empty((3, columns + 2, taps.shape[1]), f32),
        np.empty((whole_blocks(columns + 2), taps.shape[1]), f32),
    )
    standard, scales = np.zeros((len(tile), x.shape[2]), f32), np.empty(len(tile), f32)
    one, other = np.empty(columns * LANES, f32), np.empty(columns * LANES, f32)
    for left in range(0, width, columns):
        right = min(left + columns, width)
        for below in range(first - 1, last + 1):
            _expand_row(x, below, left, right, eps, weights, bias, ring, standard, scales, tile)
            row = below - 1
            if row < first:
                continue
            if len(kept):
                write(ring[row % 3, 1:], left, right - left, kept[row])
            for c in range(0, channels, LANES):
                convolve(ring, slots_around(row), 0, right - left, c, taps, taps_bias, one)
                if gates:
                    convolve(ring, slots_around(row), 0, right - left, c + channels, taps, taps_bias, other)
                total = load(sums, (row, c))
                for p in range(right - left):
                    i = (p * LANES,)
                    value = load(one, i) * load(other, i) if gates else gelu(load(one, i))
                    store(out, (row, left + p, c), value)
                    total = total + value
                store(sums, (row, c), total)


@compiled
def update(x, base, weights, bias, out, first, last):
    """Pixels first..last-1 of base + x @ weights + bias: x (P, K), base (P, C), packed (K -> C), bias (1, C).

    A base without rows counts as zero.
    """
    part, tile = np.zeros((PIXELS, x.shape[1]), f32), np.empty((PIXELS, bias.shape[1]), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        copy(x, start, count, part)
        multiply(part, count, weights, bias, tile)
        if len(base):
            add(tile, base, start, count, out)
        else:
            write(tile, start, count, out)


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
        multiply(standard, count, expand, expand_bias, expanded)
        if len(kept):
            write(expanded, start, count, kept)
        gate(expanded, gated)
        multiply(gated, count, project, project_bias, tile)
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
        multiply(standard, count, gates, gates_bias, gating)
        if len(kept):
            write(gating, start, count, kept)
        standardise(scanned, start, count, scan_eps, part, scales)
        scale_shift(part, scan_weight, scan_bias)
        gate_gelu(part, gating)
        multiply(part, count, weights, no_bias, tile)
        add(tile, base, start, count, out)
