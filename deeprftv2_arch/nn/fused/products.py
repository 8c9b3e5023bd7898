"""Matrix products of some pixels at a time, for use inside Numba kernels: the maps between two steps stay in the cache.

With few channels a product over a whole map waits for memory. Here a kernel takes a tile of pixels through all of its
steps while they lie in the L1 cache.

The innermost block is that of matrix libraries: as many sums as the registers hold; each step adds a column of the left
factor times a row of the right one. Weights are packed in panels, in which the rows of a block follow one another (Goto
and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008).
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from deeprftv2_arch.nn.kernels.build import FLAGS
from deeprftv2_arch.nn.kernels.simd import FLOATS, LANES, MATH, WIDE, broadcast, element

# Blocks of sums, as columns and rows: 32 registers of 16 floats take 24 vectors of sums beside the factors, 16
# registers of 8 floats take 12.
_BLOCKS = {48: 8, 32: 8, 16: 8} if WIDE else {24: 4, 16: 6, 8: 12}
WIDTHS = tuple(_BLOCKS)
"""Columns that a panel may have, preferred ones first."""
ROWS = 8 if WIDE else 12
"""A multiple of the rows of all blocks."""
_OUTER_ROWS = 8 if WIDE else 4  # divides all numbers of channels


def _define_block(height: int, width: int):
    """out = start + the product of ``height`` rows of the left factor and ``width`` columns of the right one.

    Each of the four is a tuple: an array, the index where it begins, the distance between its rows in floats. The left
    factor has the distance between its columns as well.
    """
    vectors = [ir.Constant(ir.IntType(64), LANES * j) for j in range(width // LANES)]
    rows = [ir.Constant(ir.IntType(64), i) for i in range(height)]

    @intrinsic
    def block(typing_context, left, right, steps, start, out):
        def generate(context, builder, signature, arguments):
            def unpack(k):
                array, index, *distances = cgutils.unpack_tuple(builder, arguments[k])
                pointer = element(context, builder, signature.args[k][0], array, signature.args[k][1], index)
                return pointer, *distances

            def vector(pointer, distance, number, lanes):
                place = builder.gep(pointer, [builder.add(builder.mul(distance, number), lanes)])
                return builder.bitcast(place, FLOATS.as_pointer())

            left, left_row, left_column = unpack(0)
            right, right_row = unpack(1)
            start, start_row = unpack(3)
            out, out_row = unpack(4)
            places = [(row, lanes, cgutils.alloca_once(builder, FLOATS)) for row in rows for lanes in vectors]
            for row, lanes, total in places:
                builder.store(builder.load(vector(start, start_row, row, lanes), align=4), total)
            with cgutils.for_range(builder, arguments[2]) as loop:
                factors = [builder.load(vector(right, right_row, loop.index, lanes), align=4) for lanes in vectors]
                column = builder.gep(left, [builder.mul(left_column, loop.index)])
                scalars = [builder.load(builder.gep(column, [builder.mul(left_row, row)])) for row in rows]
                pairs = [(broadcast(builder, scalar), factor) for scalar in scalars for factor in factors]
                for (scalar, factor), (_, _, total) in zip(pairs, places, strict=True):
                    term = builder.fmul(scalar, factor, flags=MATH)
                    builder.store(builder.fadd(builder.load(total), term, flags=MATH), total)
            for row, lanes, total in places:
                builder.store(builder.load(total), vector(out, out_row, row, lanes), align=4)
            return context.get_dummy_value()

        return types.void(left, right, types.intp, start, out), generate

    @njit(**FLAGS)
    def call(left, right, steps, start, out):
        block(left, right, steps, start, out)

    return call


_LARGE, _MIDDLE, _SMALL = WIDTHS
_LARGE_ROWS, _MIDDLE_ROWS, _SMALL_ROWS = _BLOCKS.values()


def _define_blocks(heights: tuple[int, ...]):
    large, middle, small = (_define_block(height, width) for height, width in zip(heights, WIDTHS, strict=True))

    @njit(**FLAGS)
    def block(width, left, right, steps, start, out):
        if width == _LARGE:
            large(left, right, steps, start, out)
        elif width == _MIDDLE:
            middle(left, right, steps, start, out)
        else:
            small(left, right, steps, start, out)

    return block


_block, _outer_block = _define_blocks(tuple(_BLOCKS.values())), _define_blocks((_OUTER_ROWS,) * 3)


@njit(**FLAGS)
def whole_blocks(pixels):
    """Return a number of pixels rounded up to what `multiply` works on."""
    return (pixels + ROWS - 1) // ROWS * ROWS


@njit(**FLAGS)
def multiply(a, count, weights, bias, out):
    """out = a @ weights + bias for the first count pixels.

    a (P, C), weights in panels (K / width, C, width), bias (1, K), out (P, K).

    Some pixels more are worked on: P is at least `whole_blocks` of count.
    """
    channels = a.shape[1]
    panels, _, width = weights.shape
    outputs = panels * width
    rows = _LARGE_ROWS if width == _LARGE else _MIDDLE_ROWS if width == _MIDDLE else _SMALL_ROWS
    for panel in range(panels):
        right, k = (weights, (panel, 0, 0), width), panel * width
        for p in range(0, count, rows):
            _block(width, (a, (p, 0), channels, 1), right, channels, (bias, (0, k), 0), (out, (p, k), outputs))


@njit(**FLAGS)
def add_outer(a, b, out):
    """out += a.T @ b, the sum of the outer products of all pixels: a (P, C), b (P, K), out (C, K)."""
    pixels, channels = a.shape
    outputs = b.shape[1]
    k = 0
    while k < outputs:
        rest = outputs - k
        # What is left must be a multiple of the smallest width, with few blocks of it: 32 = 2 x 16 and not 24 + 8.
        width = _LARGE if rest >= _LARGE and rest != 2 * _MIDDLE else _MIDDLE if rest >= _MIDDLE else _SMALL
        for c in range(0, channels, _OUTER_ROWS):
            place = (out, (c, k), outputs)
            _outer_block(width, (a, (0, c), 1, channels), (b, (0, k), outputs), pixels, place, place)
        k += width
