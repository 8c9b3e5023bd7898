"""The gradients of the compiled passes, a tile at a time.

What a pass computes on the way is computed again from its input where it costs little; the results of its products were
kept. Sums over pixels, which are the gradients of parameters, are added to arrays that every thread has for itself.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.fused.kernels import PIXELS
from deeprftv2_arch.nn.fused.pixels import (
    add_standardise_gradient,
    add_sum,
    copy,
    gate,
    gate_gradient,
    gelu_and_slope,
    standardise,
    write,
)
from deeprftv2_arch.nn.fused.products import add_outer, multiply
from deeprftv2_arch.nn.kernels.build import FLAGS, compiled
from deeprftv2_arch.nn.kernels.simd import LANES, load, store
from deeprftv2_arch.nn.kernels.vector_math import f32


@compiled
def update(gradient, x, weights, x_gradient, weight_gradient, bias_gradient, first, last):
    """From the gradient (P, C) of `kernels.update` for pixels first..last-1 that of x (P, K), weight (C, K), bias (C,).

    weights packed (C -> K).
    """
    tile, part = np.empty((PIXELS, gradient.shape[1]), f32), np.empty((PIXELS, x.shape[1]), f32)
    result, nothing = np.empty((PIXELS, x.shape[1]), f32), np.zeros((1, x.shape[1]), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        copy(gradient, start, count, tile)
        copy(x, start, count, part)
        multiply(tile, count, weights, nothing, result)
        write(result, start, count, x_gradient)
        add_outer(tile[:count], part[:count], weight_gradient)
        add_sum(tile[:count], bias_gradient)


@compiled
def feed_forward(
    gradient, x, expanded, eps, expand, project, x_gradient,
    expand_gradient, expand_bias_gradient, project_gradient, project_bias_gradient, first, last,
):  # fmt: skip
    """From the gradient (P, C) of `kernels.feed_forward` those of all of its inputs.

    x and x_gradient (P, C), expanded (P, 2K), expand packed (2K -> C), project packed (C -> K), expand_gradient
    (2K, C), project_gradient (C, K), gradients of biases (2K,) and (C,).
    """
    channels, expansion = x.shape[1], expanded.shape[1]
    tile, part = np.empty((PIXELS, channels), f32), np.empty((PIXELS, expansion), f32)
    gated = np.empty((PIXELS, expansion // 2), f32)
    standard, scales, result = np.zeros((PIXELS, channels), f32), np.empty(PIXELS, f32), np.empty_like(tile)
    gated_gradient, part_gradient = np.empty_like(gated), np.empty_like(part)
    nothing, nothing_gated = np.zeros((1, channels), f32), np.zeros((1, expansion // 2), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        copy(gradient, start, count, tile)
        write(tile, start, count, x_gradient)
        copy(expanded, start, count, part)
        gate(part, gated)
        add_outer(tile[:count], gated[:count], project_gradient)
        add_sum(tile[:count], project_bias_gradient)
        multiply(tile, count, project, nothing_gated, gated_gradient)
        gate_gradient(gated_gradient, part, part_gradient)
        standardise(x, start, count, eps, standard, scales)
        add_outer(part_gradient[:count], standard[:count], expand_gradient)
        add_sum(part_gradient[:count], expand_bias_gradient)
        multiply(part_gradient, count, expand, nothing, result)
        add_standardise_gradient(result, standard, scales, count, x_gradient, start)


@njit(**FLAGS)
def _gate_gelu_gradient(gradient, standard, weight, bias, gates, part, gates_gradient, weight_gradient, bias_gradient):
    """Of n * gelu(gates), n = standard * weight + bias: gradient becomes that of standard, part the value; (T, D)."""
    for c in range(0, gradient.shape[1], LANES):
        w, b = load(weight, (c,)), load(bias, (c,))
        total, product = load(bias_gradient, (c,)), load(weight_gradient, (c,))
        for p in range(gradient.shape[0]):
            y, g = load(standard, (p, c)), load(gradient, (p, c))
            n = y * w + b
            activated, slope = gelu_and_slope(load(gates, (p, c)))
            store(part, (p, c), n * activated)
            store(gates_gradient, (p, c), g * n * slope)
            g = g * activated
            total = total + g
            product = product + g * y
            store(gradient, (p, c), g * w)
        store(bias_gradient, (c,), total)
        store(weight_gradient, (c,), product)


@compiled
def gated_update(
    gradient, scanned, source, gates, scan_eps, scan_weight, scan_bias, eps, expand, weights,
    scanned_gradient, source_gradient, scan_weight_gradient, scan_bias_gradient,
    expand_gradient, expand_bias_gradient, weight_gradient, first, last,
):  # fmt: skip
    """From the gradient (P, C) of `kernels.gated_update` those of all of its inputs but the base.

    scanned and gates (P, D), source (P, C), expand packed (D -> C), weights packed (C -> D); the gradients of scanned
    and source zero at first, of scan_weight and scan_bias (D,), expand (D, C), expand_bias (D,), weight (C, D).
    """
    channels, inner = source.shape[1], scanned.shape[1]
    tile = np.zeros((PIXELS, channels), f32)
    result, standard = np.zeros_like(tile), np.zeros_like(tile)
    gating = np.zeros((PIXELS, inner), f32)
    part, part_gradient, gates_gradient = np.zeros_like(gating), np.zeros_like(gating), np.zeros_like(gating)
    scan_standard = np.zeros_like(gating)
    scales, scan_scales = np.empty(PIXELS, f32), np.empty(PIXELS, f32)
    nothing, nothing_inner = np.zeros((1, channels), f32), np.zeros((1, inner), f32)
    for start in range(first, last, PIXELS):
        count = min(PIXELS, last - start)
        copy(gradient, start, count, tile)
        copy(gates, start, count, gating)
        multiply(tile, count, weights, nothing_inner, part_gradient)
        standardise(scanned, start, count, scan_eps, scan_standard, scan_scales)
        _gate_gelu_gradient(
            part_gradient[:count], scan_standard, scan_weight, scan_bias, gating, part, gates_gradient,
            scan_weight_gradient, scan_bias_gradient,
        )  # fmt: skip
        add_outer(tile[:count], part[:count], weight_gradient)
        add_standardise_gradient(part_gradient, scan_standard, scan_scales, count, scanned_gradient, start)
        standardise(source, start, count, eps, standard, scales)
        add_outer(gates_gradient[:count], standard[:count], expand_gradient)
        add_sum(gates_gradient[:count], expand_bias_gradient)
        multiply(gates_gradient, count, expand, nothing, result)
        add_standardise_gradient(result, standard, scales, count, source_gradient, start)
