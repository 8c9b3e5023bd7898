"""The gradient of `kernels.norm_expand_depthwise`: all of its steps in one sweep over the rows of a map.

The convolution is computed again from the expanded norm, which was kept. Three rows of it wait in a ring, and three of
the gradient of the convolution's value in a second one, until the row between them has the gradient of the expanded
norm; from there on the whole row is a tile. Maps are cut into parts of some columns, so that the rings stay in the
second cache. Row r of the map stands in slot r % 3 of a ring.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.kernels import _convolve, _fill
from deeprftv2_arch.nn.fused.pixels import add_standardise_gradient, add_sum, gelu_and_slope, standardise, write
from deeprftv2_arch.nn.fused.products import ROWS, add_outer, multiply
from deeprftv2_arch.nn.selective_scan.numba_math import FLAGS, compiled, f32
from deeprftv2_arch.nn.selective_scan.numba_simd import LANES, load, store

# Of a part, at most. In long tiles the sums of `add_outer` stay in registers for longer; that is worth more than a tile
# in the first cache. With 96 channels both rings fill a third of a second cache of 1 MB.
_COLUMNS = 128


@njit(**FLAGS)
def _slots(row):
    """Of the rows above, at and below."""
    return (row - 1) % 3, row % 3, (row + 1) % 3


@njit(**FLAGS)
def _keep_row(expanded, row, left, right, ring):
    """Columns left-2..right+1 of a row of the expanded norm into its ring; zero outside of the map."""
    height, width, _ = expanded.shape
    slot, columns = row % 3, right - left + 4
    if row < 0 or row >= height:
        _fill(ring, slot, 0, columns)
        return
    first, last = max(left - 2, 0), min(right + 2, width)
    start, end = first - left + 2, last - left + 2
    _fill(ring, slot, 0, start)
    write(expanded[row, first:last], start, last - first, ring[slot])
    _fill(ring, slot, end, columns)


@njit(**FLAGS)
def _activation_gradient(gradient, mean_gradient, row, left, right, expanded, taps, taps_bias, gates, one, other, ring):
    """From the gradient of the result that of the convolution's value: columns left-1..right of a row into its ring.

    Zero outside of the map. Column p stands at p - left + 1 in the ring, at p - left + 2 in that of the expanded norm.
    """
    height, width, channels = gradient.shape
    slot, columns = row % 3, right - left + 2
    if row < 0 or row >= height:
        _fill(ring, slot, 0, columns)
        return
    first, last = max(1 - left, 0), min(width - left + 1, columns)
    _fill(ring, slot, 0, first)
    for c in range(0, channels, LANES):
        _convolve(expanded, _slots(row), first, last, c, taps, taps_bias, one)
        if gates:
            _convolve(expanded, _slots(row), first, last, c + channels, taps, taps_bias, other)
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
    _fill(ring, slot, last, columns)


@njit(**FLAGS)
def _convolve_gradient(rows, slots, expanded, count, c, taps, taps_gradient, taps_bias_gradient, out):
    """From the gradient of a convolution's value those of its input, taps and bias: channels c..c+15.

    The gradient of the input goes into the first count rows of out, to the other two it is added. Column p stands at
    p + 1 in rows, which hold the gradient of the value, at p + 2 in the row of the input. The products of inputs and
    gradients are counted where the input stands: then both sums run over the same nine neighbours.
    """
    above, row, below = slots
    t0, t1, t2 = load(taps, (8, c)), load(taps, (7, c)), load(taps, (6, c))
    t3, t4, t5 = load(taps, (5, c)), load(taps, (4, c)), load(taps, (3, c))
    t6, t7, t8 = load(taps, (2, c)), load(taps, (1, c)), load(taps, (0, c))
    s0, s1, s2 = load(taps_gradient, (8, c)), load(taps_gradient, (7, c)), load(taps_gradient, (6, c))
    s3, s4, s5 = load(taps_gradient, (5, c)), load(taps_gradient, (4, c)), load(taps_gradient, (3, c))
    s6, s7, s8 = load(taps_gradient, (2, c)), load(taps_gradient, (1, c)), load(taps_gradient, (0, c))
    total = load(taps_bias_gradient, (c,))
    x0, x3, x6 = load(rows, (above, 0, c)), load(rows, (row, 0, c)), load(rows, (below, 0, c))
    x1, x4, x7 = load(rows, (above, 1, c)), load(rows, (row, 1, c)), load(rows, (below, 1, c))
    for p in range(2, count + 2):
        x2, x5, x8 = load(rows, (above, p, c)), load(rows, (row, p, c)), load(rows, (below, p, c))
        value = (x0 * t0 + x1 * t1 + x2 * t2) + (x3 * t3 + x4 * t4 + x5 * t5) + (x6 * t6 + x7 * t7 + x8 * t8)
        store(out, (p - 2, c), value)
        e = load(expanded, (row, p, c))
        s0, s1, s2 = s0 + e * x0, s1 + e * x1, s2 + e * x2
        s3, s4, s5 = s3 + e * x3, s4 + e * x4, s5 + e * x5
        s6, s7, s8 = s6 + e * x6, s7 + e * x7, s8 + e * x8
        total = total + x4
        x0, x3, x6, x1, x4, x7 = x1, x4, x7, x2, x5, x8
    store(taps_gradient, (8, c), s0)
    store(taps_gradient, (7, c), s1)
    store(taps_gradient, (6, c), s2)
    store(taps_gradient, (5, c), s3)
    store(taps_gradient, (4, c), s4)
    store(taps_gradient, (3, c), s5)
    store(taps_gradient, (2, c), s6)
    store(taps_gradient, (1, c), s7)
    store(taps_gradient, (0, c), s8)
    store(taps_bias_gradient, (c,), total)


@compiled
def norm_expand_depthwise(
    gradient, mean_gradient, x, expanded, eps, expand, taps, taps_bias, gates, x_gradient,
    expand_gradient, expand_bias_gradient, taps_gradient, taps_bias_gradient, first, last,
):  # fmt: skip
    """From the gradient (H, W, K) of `kernels.norm_expand_depthwise` those of all of its inputs.

    mean_gradient (K,) is added to the gradient of every pixel. x and x_gradient (H, W, C), expanded (H, W, L), expand
    packed (L -> C), taps (9, L), taps_bias (L,); the gradient of x zero at first, of expand (L, C), expand_bias (L,),
    taps (9, L), taps_bias (L,). Rows first..last-1 of the gradient of x, and the share of these rows of x in the sums.
    """
    height, width, channels = x.shape
    parts, expansion = (width + _COLUMNS - 1) // _COLUMNS, taps.shape[1]
    columns = (width + parts - 1) // parts
    tile_rows = (columns + ROWS - 1) // ROWS * ROWS
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
                _convolve_gradient(
                    ring_gradient, _slots(row), ring, count, c, taps, taps_gradient, taps_bias_gradient, tile
                )
            start = row * width + left
            standardise(pixels, start, count, eps, standard, scales)
            add_outer(tile[:count], standard[:count], expand_gradient)
            add_sum(tile[:count], expand_bias_gradient)
            multiply(tile, expand, nothing, result)
            add_standardise_gradient(result, standard, scales, count, pixels_gradient, start)
