"""The gradient of `kernels.norm_expand_depthwise`: all of its steps in one sweep over the rows of a map.

The convolution is computed again from the expanded norm, which was kept. Three rows of it wait in a ring, and three rows
of the gradient of the convolution's value in a second one, until the row between them has the gradient of the expanded
norm; from there on the steps take a tile of that row at a time. Wide maps are cut into parts, so that the rings stay in
the second cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.kernels import PIXELS, _convolve, _fill
from deeprftv2_arch.nn.fused.pixels import add_standardise_gradient, add_sum, gelu_and_slope, standardise, write
from deeprftv2_arch.nn.fused.products import ROWS, add_outer, multiply
from deeprftv2_arch.nn.selective_scan.numba_math import FLAGS, compiled, f32
from deeprftv2_arch.nn.selective_scan.numba_simd import LANES, load, store

_RINGS = 2**17  # floats in both rings together: half of a cache of 1 MB


@njit(**FLAGS)
def _keep_row(expanded, row, left, right, rows, slot):
    """Columns left-2..right+1 of a row of the expanded norm into a slot of rows; zero outside of the map."""
    height, width, _ = expanded.shape
    columns = right - left + 4
    if row < 0 or row >= height:
        _fill(rows, slot, 0, columns)
        return
    first, last = max(left - 2, 0), min(right + 2, width)
    start, end = first - left + 2, last - left + 2
    _fill(rows, slot, 0, start)
    write(expanded[row, first:last], start, last - first, rows[slot])
    _fill(rows, slot, end, columns)


@njit(**FLAGS)
def _activation_gradient(
    gradient, mean_gradient, row, left, right, expanded, slots, taps, taps_bias, gates, one, other, rows, slot
):
    """From the gradient of the result that of the convolution's value, columns left-1..right, into a slot of rows.

    Zero outside of the map. Column p stands at p - left + 1 in rows, at p - left + 2 in expanded.
    """
    height, width, channels = gradient.shape
    columns = right - left + 2
    if row < 0 or row >= height:
        _fill(rows, slot, 0, columns)
        return
    first = 1 if left == 0 else 0
    last = columns - 1 if right == width else columns
    _fill(rows, slot, 0, first)
    for start in range(first, last, PIXELS):
        end = min(start + PIXELS, last)
        for c in range(0, channels, LANES):
            mean = load(mean_gradient, (c,))
            _convolve(expanded, slots, start, end, c, taps, taps_bias, one)
            if gates:
                _convolve(expanded, slots, start, end, c + channels, taps, taps_bias, other)
            for p in range(start, end):
                i = ((p - start) * LANES,)
                g = load(gradient, (row, left - 1 + p, c)) + mean
                if gates:
                    store(rows, (slot, p, c), g * load(other, i))
                    store(rows, (slot, p, c + channels), g * load(one, i))
                else:
                    _, slope = gelu_and_slope(load(one, i))
                    store(rows, (slot, p, c), g * slope)
    _fill(rows, slot, last, columns)


@njit(**FLAGS)
def _convolve_gradient(rows, slots, expanded, slot, start, end, c, taps, taps_gradient, taps_bias_gradient, out):
    """From the gradient of a convolution's value those of its input, taps and bias; channels c..c+15.

    Columns start..end-1 of the input's gradient go into the first rows of out. Column p stands at p + 1 in rows, which
    hold the gradient of the value, and at p + 2 in a slot of the input. The product of an input and a gradient is
    counted where the input stands: its neighbours serve both sums.
    """
    above, row, below = slots
    t0, t1, t2 = load(taps, (8, c)), load(taps, (7, c)), load(taps, (6, c))
    t3, t4, t5 = load(taps, (5, c)), load(taps, (4, c)), load(taps, (3, c))
    t6, t7, t8 = load(taps, (2, c)), load(taps, (1, c)), load(taps, (0, c))
    s0, s1, s2 = load(taps_gradient, (8, c)), load(taps_gradient, (7, c)), load(taps_gradient, (6, c))
    s3, s4, s5 = load(taps_gradient, (5, c)), load(taps_gradient, (4, c)), load(taps_gradient, (3, c))
    s6, s7, s8 = load(taps_gradient, (2, c)), load(taps_gradient, (1, c)), load(taps_gradient, (0, c))
    total = load(taps_bias_gradient, (c,))
    x0, x3, x6 = load(rows, (above, start, c)), load(rows, (row, start, c)), load(rows, (below, start, c))
    p = start + 1
    x1, x4, x7 = load(rows, (above, p, c)), load(rows, (row, p, c)), load(rows, (below, p, c))
    for p in range(start + 2, end + 2):
        x2, x5, x8 = load(rows, (above, p, c)), load(rows, (row, p, c)), load(rows, (below, p, c))
        value = (x0 * t0 + x1 * t1 + x2 * t2) + (x3 * t3 + x4 * t4 + x5 * t5) + (x6 * t6 + x7 * t7 + x8 * t8)
        store(out, (p - start - 2, c), value)
        e = load(expanded, (slot, p, c))
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
    expansion = expanded.shape[2]
    pixels, pixels_gradient = x.reshape(height * width, channels), x_gradient.reshape(height * width, channels)
    columns = min(width, max(_RINGS // (6 * expansion) // PIXELS, 1) * PIXELS)
    rows = np.empty((3, columns + 4, expansion), f32)
    rows_gradient = np.empty((3, columns + 2, expansion), f32)
    one, other = np.empty(PIXELS * LANES, f32), np.empty(PIXELS * LANES, f32)
    tile, standard = np.zeros((PIXELS, expansion), f32), np.zeros((PIXELS, channels), f32)
    scales, result, nothing = np.empty(PIXELS, f32), np.empty_like(standard), np.zeros((1, channels), f32)
    for left in range(0, width, columns):
        right = min(left + columns, width)
        _keep_row(expanded, first - 2, left, right, rows, (first + 1) % 3)
        _keep_row(expanded, first - 1, left, right, rows, (first + 2) % 3)
        for below in range(first - 1, last + 1):
            # Of three rows the one above stands in the slot of the row after the next.
            slots = (below + 2) % 3, (below + 3) % 3, (below + 1) % 3
            _keep_row(expanded, below + 1, left, right, rows, slots[2])
            _activation_gradient(
                gradient, mean_gradient, below, left, right, rows, slots, taps, taps_bias, gates, one, other,
                rows_gradient, slots[1],
            )  # fmt: skip
            row = below - 1
            if row < first:
                continue
            # The expanded norm of this row is about to leave its ring.
            slot, slots = slots[0], (slots[2], slots[0], slots[1])
            for start in range(left, right, PIXELS):
                count = min(PIXELS, right - start)
                for c in range(0, expansion, LANES):
                    _convolve_gradient(
                        rows_gradient, slots, rows, slot, start - left, start - left + count, c,
                        taps, taps_gradient, taps_bias_gradient, tile,
                    )  # fmt: skip
                place = row * width + start
                standardise(pixels, place, count, eps, standard, scales)
                add_outer(tile[:count], standard[:count], expand_gradient)
                add_sum(tile[:count], expand_bias_gradient)
                blocks = (count + ROWS - 1) // ROWS * ROWS
                multiply(tile[:blocks], expand, nothing, result)
                add_standardise_gradient(result, standard, scales, count, pixels_gradient, place)
