"""3x3 depthwise convolution inside Numba kernels: row by row, from a ring that holds three rows of a map.

A ring is an array (3, columns, channels); row r of the map stands in slot r % 3. Rows and columns outside of the map
are zeros in it. Taps are (9, channels).
"""

from __future__ import annotations

from numba import njit

from deeprftv2_arch.nn.kernels.build import FLAGS
from deeprftv2_arch.nn.kernels.simd import LANES, load, splat, store
from deeprftv2_arch.nn.kernels.vector_math import f32

_ZERO = f32(0)
# Long tiles keep the sums of a product in registers for longer; that is worth more than a tile in the L1 cache. With
# 96 channels two rings fill a third of an L2 cache of 1 MB.
_COLUMNS = 128


@njit(**FLAGS)
def part_columns(width):
    """Return the columns of the parts into which a map is cut, so that the rings of a part stay in the L2 cache."""
    parts = (width + _COLUMNS - 1) // _COLUMNS
    return (width + parts - 1) // parts


@njit(**FLAGS)
def slots_around(row):
    """Return the ring slots of the rows above, at and below ``row``."""
    return (row - 1) % 3, row % 3, (row + 1) % 3


@njit(**FLAGS)
def fill_zero(ring, slot, first, last):
    """Write zeros into columns first..last-1 of a slot."""
    for p in range(first, last):
        for c in range(0, ring.shape[2], LANES):
            store(ring, (slot, p, c), splat(_ZERO))


@njit(**FLAGS)
def convolve(rows, slots, start, end, c, weight, bias, out):
    """Convolve a vector of channels, from c on, of columns start..end-1 into out. Column p stands at p + 1."""
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
def convolve_gradient(rows, slots, expanded, count, c, taps, taps_gradient, taps_bias_gradient, out):
    """From the gradient of a convolution's value those of its input, taps and bias: a vector of channels from c on.

    The gradient of the input goes into the first count rows of out, to the other two it is added. Column p stands at
    p + 1 in rows, the ring of the gradient of the value, at p + 2 in expanded, that of the input. The products of
    inputs and gradients are counted where the input stands: then both sums run over the same nine neighbours.
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
