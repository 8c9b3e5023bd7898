"""The loops of the CPU kernel, compiled by Numba: one sample, a range of features ("lanes").

Time is the outer loop and the lanes are the inner one, because lanes lie next to each other in (L, D) arrays: every
inner loop is one of vector instructions. A row is sliced once per time step and then indexed from zero; indexing with
an offset keeps Numba's handling of negative indices in the inner loop and costs a factor of three.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.selective_scan.numba_math import FLAGS, FLAGS_SUMS, LOG2_E, exp2, f32, softplus_sigmoid

# Steps between the kept states: the backward pass holds one chunk of states and decays in the cache.
CHUNK = 64
# Lanes that the backward pass takes through a chunk at a time.
BLOCK = 48


@njit(**FLAGS)
def forward(u, delta, A, B, C, D, bias, y, starts, keep, first, last):
    """Scans lanes first..last of one sample.

    u, delta, y: (L, D). A: (N, D), times log2(e). B, C: (L, N). D, bias: (D,). starts: (chunks, N, D), written if keep.
    """
    length, states, lanes = u.shape[0], A.shape[0], last - first
    h = np.zeros((states, lanes), f32)
    step, drive, out = np.empty(lanes, f32), np.empty(lanes, f32), np.empty(lanes, f32)
    rate, offset, skip = A[:, first:last].copy(), bias[first:last].copy(), D[first:last].copy()
    for t in range(length):
        if keep and t % CHUNK == 0:
            for n in range(states):
                row = starts[t // CHUNK, n, first:last]
                for w in range(lanes):
                    row[w] = h[n, w]
        u_t, delta_t, y_t = u[t, first:last], delta[t, first:last], y[t, first:last]
        for w in range(lanes):
            softplus, _ = softplus_sigmoid(delta_t[w] + offset[w])
            step[w] = softplus
        for w in range(lanes):
            drive[w] = step[w] * u_t[w]
            out[w] = skip[w] * u_t[w]
        for n in range(states):
            b, c = B[t, n], C[t, n]
            for w in range(lanes):
                state = exp2(step[w] * rate[n, w]) * h[n, w] + drive[w] * b
                h[n, w] = state
                out[w] += state * c
        for w in range(lanes):
            y_t[w] = out[w]


@njit(**FLAGS)
def _recompute(u, delta, B, offset, rate, first, last, begin, steps, h, decay, step, gate):
    """States, decays, steps and softplus slopes of one chunk, from the state h[0] before it."""
    for t in range(steps):
        u_t, delta_t = u[begin + t, first:last], delta[begin + t, first:last]
        step_t, gate_t = step[t], gate[t]
        for w in range(last - first):
            softplus, sigmoid = softplus_sigmoid(delta_t[w] + offset[w])
            step_t[w] = softplus
            gate_t[w] = sigmoid
        for n in range(rate.shape[0]):
            b = B[begin + t, n]
            for w in range(last - first):
                a = exp2(step_t[w] * rate[n, w])
                decay[t, n, w] = a
                h[t + 1, n, w] = a * h[t, n, w] + step_t[w] * u_t[w] * b


@njit(**FLAGS_SUMS)
def _reverse(u, B, C, A, skip, dy, du, d_delta, dB, dC, dA, dD, d_bias, first, last, begin, steps, g, h, decay, step, gate, d_drive, d_step, drive):  # fmt: skip
    """The adjoint of one chunk, last step first; g (N, lanes) is the gradient of the state, carried between chunks."""
    zero = f32(0)
    for back in range(steps):
        t = steps - 1 - back
        row = begin + t
        u_t, dy_t, du_t, d_delta_t = u[row, first:last], dy[row, first:last], du[row, first:last], d_delta[row, first:last]
        step_t, gate_t = step[t], gate[t]
        for w in range(last - first):
            d_drive[w] = zero
            d_step[w] = zero
            drive[w] = step_t[w] * u_t[w]
        for n in range(g.shape[0]):
            b, c, sum_b, sum_c = B[row, n], C[row, n], zero, zero
            for w in range(last - first):
                grad = g[n, w] + dy_t[w] * c
                sum_c += dy_t[w] * h[t + 1, n, w]
                sum_b += grad * drive[w]
                grad_decayed = grad * decay[t, n, w]
                g[n, w] = grad_decayed
                exponent = grad_decayed * h[t, n, w]  # the gradient of step * A
                d_drive[w] += grad * b
                d_step[w] += exponent * A[n, w]
                dA[n, w] += exponent * step_t[w]
            dB[row, n] += sum_b
            dC[row, n] += sum_c
        for w in range(last - first):
            raw = (d_step[w] + d_drive[w] * u_t[w]) * gate_t[w]
            d_delta_t[w] = raw
            d_bias[w] += raw
            dD[w] += dy_t[w] * u_t[w]
            du_t[w] = d_drive[w] * step_t[w] + dy_t[w] * skip[w]


@njit(**FLAGS)
def backward(u, delta, A, B, C, D, bias, starts, dy, du, d_delta, dA, dB, dC, dD, d_bias, first, last):
    """Adjoint of `forward` on lanes first..last of one sample.

    dy, du, d_delta: (L, D). dB, dC: (L, N), added to. dA (N, D), dD and d_bias (D,) are float64: each chunk is summed in
    float32 and added to them, so their error does not grow with L.
    """
    states, chunks = A.shape[0], starts.shape[0]
    for left in range(first, last, BLOCK):
        right = min(left + BLOCK, last)
        lanes = right - left
        A_block, offset, skip = A[:, left:right].copy(), bias[left:right].copy(), D[left:right].copy()
        rate = A_block * LOG2_E
        g, chunk_dA = np.zeros((states, lanes), f32), np.empty((states, lanes), f32)
        chunk_dD, chunk_d_bias = np.empty(lanes, f32), np.empty(lanes, f32)
        h, decay = np.empty((CHUNK + 1, states, lanes), f32), np.empty((CHUNK, states, lanes), f32)
        step, gate = np.empty((CHUNK, lanes), f32), np.empty((CHUNK, lanes), f32)
        d_drive, d_step, drive = np.empty(lanes, f32), np.empty(lanes, f32), np.empty(lanes, f32)
        for back in range(chunks):
            chunk = chunks - 1 - back
            begin = chunk * CHUNK
            steps = min(CHUNK, u.shape[0] - begin)
            h[0] = starts[chunk, :, left:right]
            chunk_dA[:] = f32(0)
            chunk_dD[:] = f32(0)
            chunk_d_bias[:] = f32(0)
            _recompute(u, delta, B, offset, rate, left, right, begin, steps, h, decay, step, gate)
            _reverse(u, B, C, A_block, skip, dy, du, d_delta, dB, dC, chunk_dA, chunk_dD, chunk_d_bias, left, right, begin, steps, g, h, decay, step, gate, d_drive, d_step, drive)  # fmt: skip
            dA[:, left:right] += chunk_dA
            dD[left:right] += chunk_dD
            d_bias[left:right] += chunk_d_bias
