"""The gradient of `kernels.norm_expand_depthwise`: all of its steps in one sweep over the rows of a map.

The convolution is computed again from the expanded norm, which was kept. Three rows of it wait in a ring, and three of
the gradient of the convolution's value in a second one, until the row between them has the gradient of the expanded
norm; from there on the whole row is a tile. Maps are cut into parts of some columns, so that the rings stay in the
L2 cache. Row r of the map stands in slot r % 3 of a ring.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.convolution import convolve, convolve_gradient, fill_zero, part_columns, slots_around
from deeprftv2_arch.nn.fused.pixels import add_standardise_gradient, add_sum, gelu_and_slope, standardise, write
from deeprftv2_arch.nn.fused.products import add_outer, multiply, whole_blocks
from deeprftv2_arch.nn.kernels.build import FLAGS, compiled
from deeprftv2_arch.nn.kernels.simd import LANES, load, store
from deeprftv2_arch.nn.kernels.vector_math import f32


@njit(**FLAGS)
def _keep_row(expanded, row, left, right, ring):
    """Columns left-2..right+1 of a row of the expanded norm into its ring; zero outside of the map."""
    height, width, _ = expanded.shape
    slot, columns = row % 3, right - left + 4
    if row < 0 or row >= height:
        fill_zero(ring, slot, 0, columns)
        return
    first, last = max(left - 2, 0), min(right + 2, width)
    start, end = first - left + 2, last - left + 2
    fill_zero(ring, slot, 0, start)
    write(expanded[row, first:last], start, last - first, ring[slot])
    fill_zero(ring, slot, end, columns)


@njit(**FLAGS)
def _activation_gradient(gradient, mean_gradient, row, left, right, expanded, taps, taps_bias, gates, one, other, ring):
    """From the gradient of the result that of the convolution's value: columns left-1..right of a row into its ring.

    Zero outside of the map. Column p stands at p - left + 1 in the ring, at p - left + 2 in that of the expanded norm.
    """
    height, width, channels = gradient.shape
    slot, columns = row % 3, right - left + 2
    if row < 0 or row >= height:
        fill_zero(ring, slot, 0, columns)
        return
    first, last = max(1 - left, 0), min(width - left + 1, columns)
    fill_zero(ring, slot, 0, first)
    for c in range(0, channels, LANES):
        convolve(expanded, slots_around(row), first, last, c, taps, taps_bias, one)
        if gates:
            convolve(expanded, slots_around(row), first, last, c + channels, taps, taps_bias, other)
        mean = load(mean_gradient, (c,))
        for p in range(first, last):
            i = ((p - first) * LANES,)
            g = load(gradient, (row, left - 1 + p, c)) + mean
            if gates:
                store(ring, (slot, p, c), g * load(other, i))
                store(ring, (slot, p, c + channels), g * load(one, i))
            else:
                _, slope = gelu_and_slope(load(one, i))
                store(ring, (slot, p, c), g * slope)
    fill_zero(ring, slot, last, columns)


@compiled
def norm_expand_depthwise(
    gradient, mean_gradient, x, expanded, eps, expand, taps, taps_bias, gates, x_gradient,
    expand_gradient, expand_bias_gradient, taps_gradient, taps_bias_gradient, first, last,
):  # fmt: skip
    """From the gradient (H, W, K) of `kernels.norm_expand_depthwise` those of all of its inputs.

    mean_gradient (K,) is added to the gradient of every pixel. x and x_gradient (H, W, C), expanded (H, W, L), expand
    packed (L -> C), taps (9, L), taps_bias (L,); the gradient of x zero at first, of expand (L, C), expand_bias (L,),
    taps (9, L), taps_bias (L,). Rows first..last-1 of the gradient of x, and what these rows of x add to the sums.
    """
    height, width, channels = x.shape
    columns, expansion = part_columns(width), taps.shape[1]
    tile_rows = whole_blocks(columns)
    pixels, pixels_gradient = x.reshape(height * width, channels), x_gradient.reshape(height * width, channels)
    ring, ring_gradient = np.empty((3, columns + 4, expansion), f32), np.empty((3, columns + 2, expansion), f32)
    one, other = np.empty((columns + 2) * LANES, f32), np.empty((columns + 2) * LANES, f32)
    tile, standard = np.zeros((tile_rows, expansion), f32), np.empty((tile_rows, channels), f32)
    scales, result, nothing = np.empty(tile_rows, f32), np.empty_like(standard), np.zeros((1, channels), f32)
    for left in range(0, width, columns):
        right = min(left + columns, width)
        count = right - left
        _keep_row(expanded, first - 2, left, right, ring)
        _keep_row(expanded, first - 1, left, right, ring)
        for below in range(first - 1, last + 1):
            _keep_row(expanded, below + 1, left, right, ring)
            _activation_gradient(
                gradient, mean_gradient, below, left, right, ring, taps, taps_bias, gates, one, other, ring_gradient
            )
            row = below - 1
            if row < first:
                continue
            for c in range(0, expansion, LANES):
                convolve_gradient(
                    ring_gradient, slots_around(row), ring, count, c, taps, taps_gradient, taps_bias_gradient, tile
                )
            start = row * width + left
            standardise(pixels, start, count, eps, standard, scales)
            add_outer(tile[:count], standard[:count], expand_gradient)
            add_sum(tile[:count], expand_bias_gradient)
            multiply(tile, count, expand, nothing, result)
            add_standardise_gradient(result, standard, scales, count, pixels_gradient, start)
