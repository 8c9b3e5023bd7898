"""What a selective scan takes beside its features, in one pass over them: step sizes and weights of the states.

Each pixel of a sequence is projected to a few channels, these are convolved along the sequence (7 taps, depthwise), and
the first of them, those of the steps, are spread over all features. Channels of the steps come first, filled up to
whole vectors; after them the weights into the states, then those out of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.kernels import PIXELS
from deeprftv2_arch.nn.fused.pixels import add_sum, copy, write
from deeprftv2_arch.nn.fused.products import ROWS, add_outer, multiply, whole_blocks
from deeprftv2_arch.nn.kernels.build import FLAGS, compiled
from deeprftv2_arch.nn.kernels.simd import LANES, load, splat, store
from deeprftv2_arch.nn.kernels.vector_math import f32

TAPS = 7
_SIDE = TAPS // 2


@njit(**FLAGS)
def _clear(x, first, last):
    """Rows first..last-1 of x (T, C) = 0."""
    for p in range(first, last):
        for c in range(0, x.shape[1], LANES):
            store(x, (p, c), splat(f32(0)))


@njit(**FLAGS)
def _bounds(first, count, length):
    """Return which rows of first..first+count-1 lie in a sequence: the first, how many, and those before them."""
    begin, end = max(first, 0), min(first + count, length)
    return begin, end - begin, begin - first


@njit(**FLAGS)
def _around(x, start, count, out):
    """Copy rows start-3..start+count+2 of x (L, C) to the first rows of out; zero outside of the sequence."""
    begin, inside, before = _bounds(start - _SIDE, count + 2 * _SIDE, len(x))
    _clear(out, 0, before)
    copy(x, begin, inside, out[before:])
    _clear(out, before + inside, count + 2 * _SIDE)


@njit(**FLAGS)
def _convolve(x, count, taps, bias, out):
    """out (T, C): count rows of the convolution of x, which begins 3 rows earlier; taps (7, C), bias (C,)."""
    for c in range(0, taps.shape[1], LANES):
        t0, t1, t2, t3 = load(taps, (0, c)), load(taps, (1, c)), load(taps, (2, c)), load(taps, (3, c))
        t4, t5, t6, constant = load(taps, (4, c)), load(taps, (5, c)), load(taps, (6, c)), load(bias, (c,))
        for p in range(count):
            left = constant + load(x, (p, c)) * t0 + load(x, (p + 1, c)) * t1 + load(x, (p + 2, c)) * t2
            right = load(x, (p + 4, c)) * t4 + load(x, (p + 5, c)) * t5 + load(x, (p + 6, c)) * t6
            store(out, (p, c), left + load(x, (p + 3, c)) * t3 + right)


@njit(**FLAGS)
def _taps_gradient(x, gradient, count, taps_gradient):
    """Add to the gradient of taps (7, C): x begins 3 rows before the gradient of its convolution."""
    for c in range(0, taps_gradient.shape[1], LANES):
        zero = splat(f32(0))
        s0, s1, s2, s3, s4, s5, s6 = zero, zero, zero, zero, zero, zero, zero
        for p in range(count):
            g = load(gradient, (p, c))
            s0, s1, s2 = s0 + g * load(x, (p, c)), s1 + g * load(x, (p + 1, c)), s2 + g * load(x, (p + 2, c))
            s3, s4 = s3 + g * load(x, (p + 3, c)), s4 + g * load(x, (p + 4, c))
            s5, s6 = s5 + g * load(x, (p + 5, c)), s6 + g * load(x, (p + 6, c))
        for k, s in enumerate((s0, s1, s2, s3, s4, s5, s6)):
            store(taps_gradient, (k, c), load(taps_gradient, (k, c)) + s)


@njit(**FLAGS)
def _take(x, count, channel, out):
    """Count rows of channels channel.. of x (T, C) -> out (T, K)."""
    for p in range(count):
        for c in range(0, out.shape[1], LANES):
            store(out, (p, c), load(x, (p, channel + c)))


@njit(**FLAGS)
def _put(x, count, out, channel):
    """Count rows of x (T, K) -> channels channel.. of out (T, C)."""
    for p in range(count):
        for c in range(0, x.shape[1], LANES):
            store(out, (p, channel + c), load(x, (p, c)))


@compiled
def project(features, weights, taps, taps_bias, spread, delta, states, kept, first, last):
    """Steps first..last-1 of a sequence: features (L, D) -> delta (L, D), weights of the states (L, S).

    weights packed (D -> K), taps (7, K), taps_bias (K,), spread packed (K - S -> D). The projected features go into
    kept (L, K), if that has any rows.
    """
    length, inner = features.shape
    channels, into = taps.shape[1], taps.shape[1] - states.shape[1]
    rows = whole_blocks(PIXELS + 2 * _SIDE)
    source, tile = np.zeros((rows, inner), f32), np.zeros((rows + ROWS, channels), f32)
    convolved, steps = np.empty((PIXELS, channels), f32), np.empty((PIXELS, into), f32)
    result, nothing, nothing_inner = (
        np.empty((PIXELS, inner), f32),
        np.zeros((1, channels), f32),
        np.zeros((1, inner), f32),
    )
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        begin, inside, before = _bounds(start - _SIDE, count + 2 * _SIDE, length)
        copy(features, begin, inside, source)
        _clear(tile, 0, before)
        multiply(source, inside, weights, nothing, tile[before:])
        _clear(tile, before + inside, count + 2 * _SIDE)
        if len(kept):
            write(tile[_SIDE:], start, count, kept)
        _convolve(tile, count, taps, taps_bias, convolved)
        _take(convolved, count, 0, steps)
        _take(convolved, count, into, states[start:])
        multiply(steps, count, spread, nothing_inner, result)
        write(result, start, count, delta)


@compiled
def project_gradient(
    delta_gradient, states_gradient, features, kept, taps, backward_taps, taps_bias, spread, weights, features_gradient,
    weight_gradient, taps_gradient, taps_bias_gradient, spread_gradient, first, last,
):  # fmt: skip
    """From the gradients of the results of `project` those of its inputs, for steps first..last-1.

    backward_taps (7, K) in reverse order, spread packed (D -> K - S), weights packed (K -> D); the gradients of weights
    (K, D), taps (7, K), taps_bias (K,), spread (D, K - S).
    """
    length, inner = features.shape
    channels, into = taps.shape[1], taps.shape[1] - states_gradient.shape[1]
    rows = whole_blocks(PIXELS + 2 * _SIDE)
    source, around, steps_gradient = (
        np.zeros((rows, inner), f32),
        np.empty((rows, channels), f32),
        np.empty((rows, into), f32),
    )
    gradient, convolved = np.empty((rows, channels), f32), np.empty((PIXELS, channels), f32)
    projected_gradient, steps = np.zeros((PIXELS, channels), f32), np.empty((PIXELS, into), f32)
    result, nothing, nothing_inner = np.empty((PIXELS, inner), f32), np.zeros((1, into), f32), np.zeros((1, inner), f32)
    no_bias = np.zeros(channels, f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        begin, inside, before = _bounds(start - _SIDE, count + 2 * _SIDE, length)
        # The gradient of the convolution's result, three rows more on either side.
        copy(delta_gradient, begin, inside, source)
        multiply(source, inside, spread, nothing, steps_gradient)
        _clear(gradient, 0, before)
        _put(steps_gradient, inside, gradient[before:], 0)
        _put(states_gradient[begin:], inside, gradient[before:], into)
        _clear(gradient, before + inside, count + 2 * _SIDE)
        # What was projected, and its convolution again.
        _around(kept, start, count, around)
        _convolve(around, count, taps, taps_bias, convolved)
        _take(convolved, count, 0, steps)
        own = start - begin
        add_outer(source[own : own + count], steps[:count], spread_gradient)
        _taps_gradient(around, gradient[_SIDE:], count, taps_gradient)
        add_sum(gradient[_SIDE : _SIDE + count], taps_bias_gradient)
        _convolve(gradient, count, backward_taps, no_bias, projected_gradient)
        copy(features, start, count, source)
        add_outer(projected_gradient[:count], source[:count], weight_gradient)
        multiply(projected_gradient, count, weights, nothing_inner, result)
        write(result, start, count, features_gradient)
