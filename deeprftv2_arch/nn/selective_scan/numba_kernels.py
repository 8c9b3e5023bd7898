"""The loops of the CPU kernel: one sample, a range of blocks of as many features as a vector has lanes.

What bounds them on current processors, and what follows from it:

* exp2 is most of the arithmetic. Forward keeps all states in the L1 cache and per state and step does one
  exp2 and three multiply-adds, close to what the arithmetic units can do.
* Backward has more loads and stores than arithmetic. It takes a chunk of steps, one block and four states at a time:
  their states, adjoints and sums stay in registers, and what is shared by the four is loaded once.
* A value that is stored and loaded again a few instructions later waits for the store, so sums in memory are visited
  once per chunk and state, not once per step.
* Memory is waited for where the processor does not foresee what comes: at the start of each chunk, which backward
  takes from the last to the first, and in rows of which a job has a part (2 of 6 blocks: three times slower). Such
  rows are asked for while the ones before them are computed.
* Work arrays have fixed strides (constants in the machine code) that are no powers of two (such strides put the same
  step of all arrays into one set of the cache).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from deeprftv2_arch.nn.kernels.build import FLAGS, compiled
from deeprftv2_arch.nn.kernels.simd import (
    LANES,
    load,
    load_one,
    load_part,
    prefetch,
    splat,
    store,
    store_part,
    sum_lanes_of_rows,
)
from deeprftv2_arch.nn.kernels.vector_math import LOG2_E, exp2, exp2_short, f32, softplus, softplus_and_slope

CHUNK = 64  # steps between the states that forward keeps for backward
STATES = 4  # states that backward takes at a time; the number of states is filled up to a multiple of it
_AHEAD = 8  # steps for which forward computes softplus at once, so that its long chain of operations is not waited for

# Offsets in floats. A row is one quantity over a chunk of one block; a tile holds those of one block.
_ROW = (CHUNK + 2) * LANES
_STEP, _SLOPE, _DRIVE, _DY, _D_DRIVE, _D_STEP, _TILE = (row * _ROW for row in range(7))


class Sample(NamedTuple):
    """The inputs of one sample; blocks are (ceil(D / LANES)), filled up with zeros."""

    u: np.ndarray  # (L, D)
    delta: np.ndarray  # (L, D)
    A: np.ndarray  # (blocks, N, LANES); N is a multiple of STATES
    B: np.ndarray  # (L, N)
    C: np.ndarray  # (L, N)
    D: np.ndarray  # (blocks, LANES)
    bias: np.ndarray  # (blocks, LANES)


class Gradients(NamedTuple):
    """The gradients of one sample; float64 where a float32 sum over all steps would lose digits."""

    u: np.ndarray  # (L, D)
    delta: np.ndarray  # (L, D)
    A: np.ndarray  # (blocks, N, LANES) float64
    D: np.ndarray  # (blocks, LANES) float64
    bias: np.ndarray  # (blocks, LANES) float64
    BC: np.ndarray  # (N, 2, chunks * CHUNK), of the features of one job


class _Scratch(NamedTuple):
    tile: np.ndarray  # (blocks, 6, row)
    kept: np.ndarray  # (STATES, 2, row), states and decays
    sums: np.ndarray  # (N, 2, row), of dB and dC, not yet added over the lanes
    adjoint: np.ndarray  # (blocks, N, LANES), the gradient of the state that enters the chunk from the right
    A: np.ndarray  # (blocks, N, LANES), the gradient of one chunk; so are the next two
    D: np.ndarray  # (blocks, LANES)
    bias: np.ndarray  # (blocks, LANES)


@njit(**FLAGS)
def _zeros(size):
    """Zeros that begin on a cache line."""
    floats = np.zeros(size + LANES, f32)
    start = -(floats.ctypes.data // 4) % LANES
    return floats[start : start + size]


@njit(**FLAGS)
def _load_row(array, t, block):
    """Load a block of array (L, D) at step t; lanes beyond D are 0."""
    column, features = block * LANES, array.shape[1]
    if column + LANES <= features:
        return load(array, (t, column))
    return load_part(array, (t, column), features - column)


@njit(**FLAGS)
def _store_row(array, t, block, value):
    column, features = block * LANES, array.shape[1]
    if column + LANES <= features:
        store(array, (t, column), value)
    else:
        store_part(array, (t, column), features - column, value)


@njit(**FLAGS)
def _prefetch_row(array, t, block):
    """Asks for a block of array (L, D) at step t, which may lie outside."""
    prefetch(array, (t, block * LANES))


@njit(**FLAGS)
def _load_four(array, n):
    """Rows n..n+3 of array (N, LANES)."""
    return load(array, (n, 0)), load(array, (n + 1, 0)), load(array, (n + 2, 0)), load(array, (n + 3, 0))


@njit(**FLAGS)
def _store_four(array, n, values):
    store(array, (n, 0), values[0])
    store(array, (n + 1, 0), values[1])
    store(array, (n + 2, 0), values[2])
    store(array, (n + 3, 0), values[3])


@njit(**FLAGS)
def _four_weights(array, t, n):
    """Elements n..n+3 of row t of B or C (L, N)."""
    return (
        load_one(array, (t, n)),
        load_one(array, (t, n + 1)),
        load_one(array, (t, n + 2)),
        load_one(array, (t, n + 3)),
    )


@compiled
def forward(sample, y, starts, keep, first, last):
    """Scan blocks first..last.

    Args: y (L, D); starts (chunks, blocks, N, LANES), the state before each chunk, written if keep.
    """
    u, delta, A, B, C, D, bias = sample
    length, states, blocks = B.shape[0], B.shape[1], last - first
    small_parts = 2 * blocks < A.shape[0]  # of rows; larger ones the processor foresees by itself
    rate = A[first:last] * LOG2_E
    h = _zeros(A[first:last].size).reshape(rate.shape)
    step = _zeros(_AHEAD * blocks * LANES).reshape((_AHEAD, blocks, LANES))
    for begin in range(0, length, _AHEAD):
        steps = min(_AHEAD, length - begin)
        if keep and begin % CHUNK == 0:
            starts[begin // CHUNK, first:last] = h
        for t in range(steps):
            for i in range(blocks):
                raw = _load_row(delta, begin + t, first + i) + load(bias, (first + i, 0))
                store(step, (t, i, 0), softplus(raw))
        for t in range(steps):
            row = begin + t
            for i in range(blocks):
                if small_parts:
                    _prefetch_row(delta, row + _AHEAD, first + i)
                    _prefetch_row(u, row + _AHEAD, first + i)
                    _prefetch_row(y, row + _AHEAD, first + i)
                step_t, u_t = load(step, (t, i, 0)), _load_row(u, row, first + i)
                drive = step_t * u_t
                out = load(D, (first + i, 0)) * u_t
                for n in range(0, states, STATES):
                    r, state = _load_four(rate[i], n), _load_four(h[i], n)
                    b, c = _four_weights(B, row, n), _four_weights(C, row, n)
                    state = (
                        exp2_short(step_t * r[0]) * state[0] + drive * b[0],
                        exp2_short(step_t * r[1]) * state[1] + drive * b[1],
                        exp2_short(step_t * r[2]) * state[2] + drive * b[2],
                        exp2_short(step_t * r[3]) * state[3] + drive * b[3],
                    )
                    _store_four(h[i], n, state)
                    out = out + state[0] * c[0] + state[1] * c[1] + state[2] * c[2] + state[3] * c[3]
                _store_row(y, row, first + i, out)


@njit(**FLAGS)
def _fill(sample, dy, scratch, first, begin, steps):
    """Return what backward needs of a chunk, block by block and step by step beside each other, and cleared sums."""
    u, delta, bias = sample.u, sample.delta, sample.bias
    tile, zero = scratch.tile, splat(f32(0))
    for t in range(steps):
        for i in range(scratch.adjoint.shape[0]):
            raw = _load_row(delta, begin + t, first + i) + load(bias, (first + i, 0))
            step, slope = softplus_and_slope(raw)
            at = i * _TILE + t * LANES
            store(tile, (_STEP + at,), step)
            store(tile, (_SLOPE + at,), slope)
            store(tile, (_DRIVE + at,), step * _load_row(u, begin + t, first + i))
            store(tile, (_DY + at,), _load_row(dy, begin + t, first + i))
            store(tile, (_D_DRIVE + at,), zero)
            store(tile, (_D_STEP + at,), zero)
    scratch.sums[:] = f32(0)


@njit(**FLAGS)
def _forth(kept, at, step, drive, state, rate, b):
    """One step of one state forth; keeps the state before it and the decay."""
    decay = exp2(step * rate)
    store(kept, (at,), state)
    store(kept, (_ROW + at,), decay)
    return decay * state + drive * b


@njit(**FLAGS)
def _back(kept, sums, at, inputs, gradients, adjoint, state, dA, a, b, c):
    """One step of one state back: the adjoint recurrence, and what it adds to the gradients.

    inputs: step, drive and dy at this step. gradients: of drive and of step. state: after this step.
    """
    step, drive, dy = inputs
    d_drive, d_step = gradients
    adjoint = adjoint + dy * c
    store(sums, (at,), load(sums, (at,)) + adjoint * drive)
    store(sums, (_ROW + at,), load(sums, (_ROW + at,)) + dy * state)
    d_drive = d_drive + adjoint * b
    adjoint = adjoint * load(kept, (_ROW + at,))
    state = load(kept, (at,))
    d_exponent = adjoint * state
    return (d_drive, d_step + d_exponent * a), adjoint, state, dA + d_exponent * step


@njit(**FLAGS)
def _four_states(sample, dy, gradients, scratch, start, i, block, begin, n, steps):
    """States n..n+3 of a block through a chunk, forth and back. start (N, LANES) is the state before the chunk.

    i: index of the block in scratch. block: its index in the sample. The first four states also ask for the memory
    that is needed next: the inputs of the chunk before this one, and where the gradients of this one go.
    """
    B, C, kept = sample.B, sample.C, scratch.kept
    tile, sums = scratch.tile[i * _TILE :], scratch.sums[n * 2 * _ROW :]
    a, h = _load_four(sample.A[block], n), _load_four(start, n)
    rate = a[0] * LOG2_E, a[1] * LOG2_E, a[2] * LOG2_E, a[3] * LOG2_E
    for t in range(steps):
        at = t * LANES
        step, drive = load(tile, (_STEP + at,)), load(tile, (_DRIVE + at,))
        if n == 0:
            _prefetch_row(sample.u, begin + t - CHUNK, block)
            _prefetch_row(sample.delta, begin + t - CHUNK, block)
            _prefetch_row(dy, begin + t - CHUNK, block)
        b = _four_weights(B, begin + t, n)
        h = (
            _forth(kept, at, step, drive, h[0], rate[0], b[0]),
            _forth(kept, at + 2 * _ROW, step, drive, h[1], rate[1], b[1]),
            _forth(kept, at + 4 * _ROW, step, drive, h[2], rate[2], b[2]),
            _forth(kept, at + 6 * _ROW, step, drive, h[3], rate[3], b[3]),
        )
    g, dA = _load_four(scratch.adjoint[i], n), _load_four(scratch.A[i], n)
    for back in range(steps):
        t = steps - 1 - back
        at = t * LANES
        x = load(tile, (_STEP + at,)), load(tile, (_DRIVE + at,)), load(tile, (_DY + at,))
        dx = load(tile, (_D_DRIVE + at,)), load(tile, (_D_STEP + at,))
        if n == 0:
            _prefetch_row(gradients.u, begin + t, block)
            _prefetch_row(gradients.delta, begin + t, block)
        b, c = _four_weights(B, begin + t, n), _four_weights(C, begin + t, n)
        dx, g0, h0, dA0 = _back(kept, sums, at, x, dx, g[0], h[0], dA[0], a[0], b[0], c[0])
        dx, g1, h1, dA1 = _back(kept, sums, at + 2 * _ROW, x, dx, g[1], h[1], dA[1], a[1], b[1], c[1])
        dx, g2, h2, dA2 = _back(kept, sums, at + 4 * _ROW, x, dx, g[2], h[2], dA[2], a[2], b[2], c[2])
        dx, g3, h3, dA3 = _back(kept, sums, at + 6 * _ROW, x, dx, g[3], h[3], dA[3], a[3], b[3], c[3])
        g, h, dA = (g0, g1, g2, g3), (h0, h1, h2, h3), (dA0, dA1, dA2, dA3)
        store(tile, (_D_DRIVE + at,), dx[0])
        store(tile, (_D_STEP + at,), dx[1])
    _store_four(scratch.adjoint[i], n, g)
    _store_four(scratch.A[i], n, dA)


@njit(**FLAGS)
def _finish(sample, gradients, scratch, first, begin, steps):
    """From the gradients of drive and step to those of the inputs of a chunk."""
    u, D, tile = sample.u, sample.D, scratch.tile
    for t in range(steps):
        row = begin + t
        for i in range(scratch.adjoint.shape[0]):
            at = i * _TILE + t * LANES
            u_t, dy, d_drive = _load_row(u, row, first + i), load(tile, (_DY + at,)), load(tile, (_D_DRIVE + at,))
            d_raw = (load(tile, (_D_STEP + at,)) + d_drive * u_t) * load(tile, (_SLOPE + at,))
            _store_row(gradients.delta, row, first + i, d_raw)
            du = d_drive * load(tile, (_STEP + at,)) + dy * load(D, (first + i, 0))
            _store_row(gradients.u, row, first + i, du)
            store(scratch.bias, (i, 0), load(scratch.bias, (i, 0)) + d_raw)
            store(scratch.D, (i, 0), load(scratch.D, (i, 0)) + dy * u_t)
    for n in range(gradients.BC.shape[0]):
        for part in range(2):
            for t in range(0, steps, LANES):
                sums = sum_lanes_of_rows(scratch.sums, ((2 * n + part) * _ROW + t * LANES,))
                store(gradients.BC, (n, part, begin + t), sums)


@compiled
def backward(sample, starts, dy, gradients, first, last):
    """Adjoint of `forward` on blocks first..last.

    Each chunk is summed in float32 and added to the float64 arrays in gradients, so that the error of dA, dD and the
    bias' gradient does not grow with L.
    """
    length, states, blocks = sample.u.shape[0], sample.A.shape[1], last - first
    per_state, per_block = (blocks, states, LANES), (blocks, LANES)
    scratch = _Scratch(
        _zeros(blocks * _TILE),
        _zeros(STATES * 2 * _ROW),
        _zeros(states * 2 * _ROW),
        _zeros(blocks * states * LANES).reshape(per_state),
        _zeros(blocks * states * LANES).reshape(per_state),
        _zeros(blocks * LANES).reshape(per_block),
        _zeros(blocks * LANES).reshape(per_block),
    )
    for back in range(starts.shape[0]):
        chunk = starts.shape[0] - 1 - back
        begin = chunk * CHUNK
        steps = min(CHUNK, length - begin)
        _fill(sample, dy, scratch, first, begin, steps)
        for i in range(blocks):
            for n in range(0, states, STATES):
                start = starts[chunk, first + i]
                _four_states(sample, dy, gradients, scratch, start, i, first + i, begin, n, steps)
        _finish(sample, gradients, scratch, first, begin, steps)
        gradients.A[first:last] += scratch.A
        gradients.D[first:last] += scratch.D
        gradients.bias[first:last] += scratch.bias
        scratch.A[:] = f32(0)
        scratch.D[:] = f32(0)
        scratch.bias[:] = f32(0)
