"""The loops of the CPU kernel: one sample, a range of blocks of 16 features.

What bounds them on current processors, and what follows from it:

* exp2 is most of the arithmetic. Forward keeps all states in the first-level cache and per state and step does one
  exp2 and three multiply-adds, close to what the arithmetic units can do.
* Backward has more loads and stores than arithmetic. It takes a chunk of steps, one block and four states at a time:
  their states, adjoints and sums stay in registers, and what is shared by the four is loaded once.
* A value that is stored and loaded again a few instructions later waits for the store, so sums in memory are visited
  once per chunk and state, not once per step.
* Work arrays have fixed strides (constants in the machine code) that are no powers of two (such strides put the same
  step of all arrays into one set of the cache).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from deeprftv2_arch.nn.selective_scan.numba_math import (
    FLAGS,
    LOG2_E,
    exp2,
    exp2_short,
    f32,
    softplus,
    softplus_and_slope,
)
from deeprftv2_arch.nn.selective_scan.numba_simd import (
    LANES,
    load,
    load_one,
    load_part,
    splat,
    store,
    store_part,
    sum_lanes_of_rows,
)

CHUNK = 64  # steps between the states that forward keeps for backward
STATES = 4  # states that backward takes at a time; the number of states is filled up to a multiple of it
_AHEAD = 8  # steps for which forward computes softplus at once, so that its long chain of operations is not waited for

# Offsets in floats. A row is one quantity over a chunk of one block; a tile holds those of one block.
_ROW = (CHUNK + 2) * LANES
_STEP, _SLOPE, _DRIVE, _DY, _D_DRIVE, _D_STEP, _TILE = (row * _ROW for row in range(7))


class Sample(NamedTuple):
    """The inputs of one sample; blocks are (ceil(D / 16)), filled up with zeros."""

    u: np.ndarray  # (L, D)
    delta: np.ndarray  # (L, D)
    A: np.ndarray  # (blocks, N, 16); N is a multiple of STATES
    B: np.ndarray  # (L, N)
    C: np.ndarray  # (L, N)
    D: np.ndarray  # (blocks, 16)
    bias: np.ndarray  # (blocks, 16)


class Gradients(NamedTuple):
    """The gradients of one sample; float64 where a float32 sum over all steps would lose digits."""

    u: np.ndarray  # (L, D)
    delta: np.ndarray  # (L, D)
    A: np.ndarray  # (blocks, N, 16) float64
    BC: np.ndarray  # (N, 2, chunks * CHUNK), of the features of one job
    D: np.ndarray  # (blocks, 16) float64
    bias: np.ndarray  # (blocks, 16) float64


class _Scratch(NamedTuple):
    tile: np.ndarray  # (blocks, 6, row)
    kept: np.ndarray  # (STATES, 2, row), states and decays
    sums: np.ndarray  # (N, 2, row), of dB and dC, not yet added over the lanes
    adjoint: np.ndarray  # (blocks, N, 16), the gradient of the state that enters the chunk from the right
    dA: np.ndarray  # (blocks, N, 16), of one chunk; so are the next two
    dD: np.ndarray  # (blocks, 16)
    d_bias: np.ndarray  # (blocks, 16)


@njit(**FLAGS)
def _zeros(size):
    """Zeros that begin on a cache line."""
    floats = np.zeros(size + LANES, f32)
    start = -(floats.ctypes.data // 4) % LANES
    return floats[start : start + size]


@njit(**FLAGS)
def _load_row(array, t, block):
    """A block of array (L, D) at step t; lanes beyond D are 0."""
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
def forward(sample, y, starts, keep, first, last):
    """Scans blocks first..last.

    Args: y (L, D); starts (chunks, blocks, N, 16), the state before each chunk, written if keep.
    """
    u, delta, A, B, C, D, bias = sample
    length, states, blocks = B.shape[0], B.shape[1], last - first
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
                step_t, u_t = load(step, (t, i, 0)), _load_row(u, row, first + i)
                drive = step_t * u_t
                out = load(D, (first + i, 0)) * u_t
                for n in range(states):
                    state = exp2_short(step_t * load(rate, (i, n, 0))) * load(h, (i, n, 0)) + drive * B[row, n]
                    store(h, (i, n, 0), state)
                    out = out + state * C[row, n]
                _store_row(y, row, first + i, out)


@njit(**FLAGS)
def _fill(sample, dy, scratch, first, begin, steps):
    """What backward needs of a chunk, block by block and step by step beside each other, and cleared sums."""
    u, delta, A, B, C, D, bias = sample
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

    inputs: step, drive and dy of the step. gradients: of drive and of step.
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
def _four_states(sample, scratch, start, i, first, begin, n, steps):
    """Forth and back through a chunk with states n..n+3 of block first + i; start (N, 16) is the state before it."""
    A, B, C = sample.A[first + i], sample.B, sample.C
    tile, kept, sums = scratch.tile[i * _TILE :], scratch.kept, scratch.sums[2 * n * _ROW :]
    adjoint, dA = scratch.adjoint[i], scratch.dA[i]
    n0, n1, n2, n3 = (n, 0), (n + 1, 0), (n + 2, 0), (n + 3, 0)
    a0, a1, a2, a3 = load(A, n0), load(A, n1), load(A, n2), load(A, n3)
    r0, r1, r2, r3 = a0 * LOG2_E, a1 * LOG2_E, a2 * LOG2_E, a3 * LOG2_E
    h0, h1, h2, h3 = load(start, n0), load(start, n1), load(start, n2), load(start, n3)
    for t in range(steps):
        at, row = t * LANES, begin + t
        step, drive = load(tile, (_STEP + at,)), load(tile, (_DRIVE + at,))
        h0 = _forth(kept, at, step, drive, h0, r0, load_one(B, (row, n)))
        h1 = _forth(kept, at + 2 * _ROW, step, drive, h1, r1, load_one(B, (row, n + 1)))
        h2 = _forth(kept, at + 4 * _ROW, step, drive, h2, r2, load_one(B, (row, n + 2)))
        h3 = _forth(kept, at + 6 * _ROW, step, drive, h3, r3, load_one(B, (row, n + 3)))
    g0, g1, g2, g3 = load(adjoint, n0), load(adjoint, n1), load(adjoint, n2), load(adjoint, n3)
    s0, s1, s2, s3 = load(dA, n0), load(dA, n1), load(dA, n2), load(dA, n3)
    for back in range(steps):
        t = steps - 1 - back
        at, row = t * LANES, begin + t
        x = load(tile, (_STEP + at,)), load(tile, (_DRIVE + at,)), load(tile, (_DY + at,))
        d = load(tile, (_D_DRIVE + at,)), load(tile, (_D_STEP + at,))
        d, g0, h0, s0 = _back(kept, sums, at, x, d, g0, h0, s0, a0, load_one(B, (row, n)), load_one(C, (row, n)))
        d, g1, h1, s1 = _back(kept, sums, at + 2 * _ROW, x, d, g1, h1, s1, a1, load_one(B, (row, n + 1)), load_one(C, (row, n + 1)))  # fmt: skip
        d, g2, h2, s2 = _back(kept, sums, at + 4 * _ROW, x, d, g2, h2, s2, a2, load_one(B, (row, n + 2)), load_one(C, (row, n + 2)))  # fmt: skip
        d, g3, h3, s3 = _back(kept, sums, at + 6 * _ROW, x, d, g3, h3, s3, a3, load_one(B, (row, n + 3)), load_one(C, (row, n + 3)))  # fmt: skip
        store(tile, (_D_DRIVE + at,), d[0])
        store(tile, (_D_STEP + at,), d[1])
    store(adjoint, n0, g0)
    store(adjoint, n1, g1)
    store(adjoint, n2, g2)
    store(adjoint, n3, g3)
    store(dA, n0, s0)
    store(dA, n1, s1)
    store(dA, n2, s2)
    store(dA, n3, s3)


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
            store(scratch.d_bias, (i, 0), load(scratch.d_bias, (i, 0)) + d_raw)
            store(scratch.dD, (i, 0), load(scratch.dD, (i, 0)) + dy * u_t)
    for n in range(gradients.BC.shape[0]):
        for part in range(2):
            for t in range(0, steps, LANES):
                sums = sum_lanes_of_rows(scratch.sums, ((2 * n + part) * _ROW + t * LANES,))
                store(gradients.BC, (n, part, begin + t), sums)


@njit(**FLAGS)
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
                _four_states(sample, scratch, starts[chunk, first + i], i, first, begin, n, steps)
        _finish(sample, gradients, scratch, first, begin, steps)
        gradients.A[first:last] += scratch.dA
        gradients.D[first:last] += scratch.dD
        gradients.bias[first:last] += scratch.d_bias
        scratch.dA[:] = f32(0)
        scratch.dD[:] = f32(0)
        scratch.d_bias[:] = f32(0)
