"""Several steps of a block in one pass over its maps, on the CPU in float32: compiled by Numba.

Step by step a block writes every map to memory and reads it again, and with few channels a processor waits for that
longer than it computes. Here each group of steps is one pass: a tile of pixels goes through all of them while it lies
in the cache, matrix products included. Gradients are passes of the same kind. Results are those of the plain form up to
the rounding of float32. Where :func:`runs` says no, the blocks compute the plain form: under autocast, inside
torch.compile and torch.func, for derivatives in forward mode, in other precisions, on other devices, for empty maps,
and where Numba does not work. `nn/functional.py` is the one place that asks and calls.

The kernels check nothing, and would read beyond the end of a map that does not fit; the functions here refuse it with a
ValueError first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.fused.calls import lanes, passes
from deeprftv2_arch.nn.fused.functions import FeedForward, GatedUpdate, NormExpandDepthwise, Update
from deeprftv2_arch.nn.fused.scan_function import ScanInputs
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.precision import autocasts_to_half


def fits(channels: int) -> bool:
    """Whether the passes, which work here, take maps of so many channels: whole vectors of the processor."""
    return channels % lanes() == 0


def available(device: torch.device) -> bool:
    """Whether the passes can run on a device at all."""
    return device.type == 'cpu' and passes() is not None


def runs(*maps: Tensor) -> bool:
    """Whether the passes can take maps (N, C, H, W)."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()  # torch.func: no arrays behind its tensors
        and torch.autograd.forward_ad._current_level < 0  # forward mode: the passes have gradients only
        and passes() is not None
        and all(_is_readable(x) for x in maps)
        and not autocasts_to_half(maps[0].device)
    )


def _is_readable(x: Tensor) -> bool:
    """Whether the kernels can read a map."""
    is_plain = type(x) is Tensor and x.device.type == 'cpu' and x.dtype == torch.float32
    return is_plain and fits(x.shape[1]) and x.numel() > 0


def _check(*expected: tuple[Tensor, tuple[int, ...]]) -> None:
    """Refuse tensors that do not have the shapes expected of them."""
    for x, shape in expected:
        if x.shape != shape:
            raise ValueError(f'a fused pass needs a tensor of shape {shape}, but this one has {tuple(x.shape)}')


def norm_expand_depthwise(
    x: Tensor, norm: LayerNorm2d, weight: Tensor, bias: Tensor | None, depthwise: nn.Conv2d, gates: bool
) -> tuple[Tensor, Tensor]:
    """Compute ``activation(depthwise(weight @ norm(x) + bias))`` (N, K, H, W) and its mean over the map (N, K, 1, 1).

    Args:
        x: (N, C, H, W).
        norm: Over C channels.
        weight: (L, C).
        bias: (L,) or None for zero.
        depthwise: 3x3 convolution of L channels.
        gates: The activation is the first half of the channels times the second, K = L / 2; else GELU, K = L.
    """
    expansion, channels = len(weight), x.shape[1]
    _check((weight, (expansion, channels)), (depthwise.weight, (expansion, 1, 3, 3)))
    taps = depthwise.weight.flatten(1).t().contiguous()
    settings = np.float32(norm.eps), gates, torch.is_grad_enabled()
    out, mean = NormExpandDepthwise.apply(_pixels(x), *_folded(norm, weight, bias), taps, depthwise.bias, *settings)
    return _channels(out), mean[..., None, None]


def update(x: Tensor, base: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``base + weight @ x + bias`` at every pixel.

    Args:
        x: (N, K, H, W).
        base: (N, C, H, W).
        weight: (C, K), or (N, C, K) for each sample its own.
        bias: (C,) or None for zero.
    """
    batch, inner, height, width = x.shape
    channels = weight.shape[-2]
    bias = weight.new_zeros(channels) if bias is None else bias
    each = (batch,) if weight.ndim == 3 else ()
    _check((base, (batch, channels, height, width)), (weight, (*each, channels, inner)), (bias, (channels,)))
    return _channels(Update.apply(_pixels(x), _pixels(base), weight, bias))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``weight @ x + bias`` at every pixel: x (N, C, H, W), weight (K, C), bias (K,) or None for zero."""
    channels = len(weight)
    bias = weight.new_zeros(channels) if bias is None else bias
    _check((weight, (channels, x.shape[1])), (bias, (channels,)))
    missing = -channels % lanes()
    if missing:
        weight, bias = F.pad(weight, (0, 0, 0, missing)), F.pad(bias, (0, missing))
    return _channels(Update.apply(_pixels(x), None, weight, bias))[:, :channels]


def feed_forward(x: Tensor, norm: LayerNorm2d, expand: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``x + weight @ simple_gate(expand(norm(x))) + bias``: x (N, C, H, W), weight (C, K), bias (C,) if any."""
    channels, inner = x.shape[1], weight.shape[1]
    bias = weight.new_zeros(channels) if bias is None else bias
    _check((expand.weight, (2 * inner, channels, 1, 1)), (weight, (channels, inner)), (bias, (channels,)))
    expansion = _folded(norm, expand.weight.flatten(1), expand.bias)
    settings = np.float32(norm.eps), torch.is_grad_enabled()
    return _channels(FeedForward.apply(_pixels(x), *expansion, weight, bias, *settings))


def gated_update(
    scanned: Tensor,
    source: Tensor,
    base: Tensor,
    norm: LayerNorm2d,
    gates: Tensor,
    scan_norm: nn.LayerNorm,
    weight: Tensor,
) -> Tensor:
    """Compute ``base + weight @ (scan_norm(scanned) * gelu(gates @ norm(source)))`` at every pixel.

    Args:
        scanned: (N, D, H, W).
        source: (N, C, H, W).
        base: (N, C, H, W).
        norm: Over C channels.
        gates: (D, C).
        scan_norm: Over D channels.
        weight: (C, D).
    """
    (batch, inner, height, width), channels = scanned.shape, len(weight)
    same = batch, channels, height, width
    _check((source, same), (base, same), (gates, (inner, channels)), (weight, (channels, inner)))
    _check((scan_norm.weight, (inner,)))
    maps = _pixels(scanned), _pixels(source), _pixels(base)
    settings = np.float32(scan_norm.eps), np.float32(norm.eps), torch.is_grad_enabled()
    parameters = scan_norm.weight, scan_norm.bias, *_folded(norm, gates, None), weight
    return _channels(GatedUpdate.apply(*maps, *parameters, *settings))


def scan_inputs(features: Tensor, weight: Tensor, convolution: nn.Conv1d, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Project every pixel, convolve along the rows put end to end, and spread the first channels over all features.

    Args:
        features: (N, D, H, W).
        weight: (K, D).
        convolution: Depthwise over K channels, 7 taps.
        spread: (D, R).

    Returns:
        (N, H W, D), the first R channels of the convolution times spread, and (N, H W, K - R), the other channels.
    """
    channels, inner, rank = len(weight), features.shape[1], spread.shape[1]
    _check((weight, (channels, inner)), (convolution.weight, (channels, 1, 7)), (spread, (inner, rank)))
    if not fits(channels - rank):
        raise ValueError(
            f'a fused pass needs whole vectors of {lanes()} channels, but the weights are {channels - rank}'
        )
    parameters = weight, convolution.weight.flatten(1), convolution.bias, spread, torch.is_grad_enabled()
    return ScanInputs.apply(_pixels(features).flatten(1, 2), *parameters)


def _folded(norm: LayerNorm2d, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return weight and bias of ``weight @ norm(x) + bias`` for the norm without its own."""
    shift = weight @ norm.bias
    return weight * norm.weight, shift if bias is None else shift + bias


def _pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _channels(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)
