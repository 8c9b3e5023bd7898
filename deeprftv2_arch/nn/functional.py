"""The steps of the blocks, each in the fastest form that can run here; the blocks themselves read like the figures.

Every function says in its first line what it computes, and has up to three forms of it:

* step by step: the modules are called, as the formula says;
* products: factors per channel are multiplied into the weights, where they cost nothing, and the map that is added to
  goes into the matrix product, so that no map is scaled, neither here nor in backward;
* fused: several steps in one pass over the map, on the CPU in float32 (``nn/fused``).

The last two read the weights of modules instead of calling them. They stay out where somebody could tell (hooks, other
modules in their place), inside torch.compile and tracing, and under autocast, which is decided per call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.pooling import MeanPool
from deeprftv2_arch.nn.precision import autocasts_to_half

# Modules of torch that a block is built of; all others are from this package.
_TORCH_MODULES = (nn.Conv2d, nn.Conv1d, nn.Linear, nn.LayerNorm)
_PACKAGE = f'{__package__}.'


class GatedScan(nn.Module):
    """What :func:`add_scan` reads of a selective scan over maps; ``nn/vsblock.py`` has the scan."""

    in_proj: nn.Linear
    depthwise: nn.Conv2d
    out_norm: nn.LayerNorm
    out_proj: nn.Linear

    def scan(self, features: Tensor) -> Tensor:
        """Scan (N, D, H, W) maps, without projections, norm and gate."""
        raise NotImplementedError

    def gated(self, x: Tensor) -> Tensor:
        """Do all but the last projection: (N, C, H, W) -> (N, D, H, W)."""
        raise NotImplementedError


def simple_gate(x: Tensor) -> Tensor:
    """Multiply the first half of the channels by the second: (N, 2C, H, W) -> (N, C, H, W)."""
    first, second = x.chunk(2, dim=1)
    return first * second


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``weight @ x + bias`` at every pixel, (N, C, H, W) -> (N, K, H, W): weight (K, C), bias (K,) or None."""
    if fused.runs(x):
        return fused.linear(x, weight, bias)
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """Compute ``layer(x)`` over the channels of a map: (N, C, H, W) -> (N, K, H, W)."""
    if fused.runs(x) and _replaceable(layer):
        return fused.linear(x, layer.weight, layer.bias)
    return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pointwise_of_all(maps: Sequence[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``weight @ cat(maps) + bias`` at every pixel: maps (N, C_i, H, W), weight (K, sum of all C_i)."""
    if not fused.runs(*maps) or not fused.fits(len(weight)):
        return pointwise(torch.cat(list(maps), dim=1), weight, bias)
    # A product for each map, added to the one before: nothing is concatenated.
    weights = weight.split([x.shape[1] for x in maps], dim=1)
    total = fused.linear(maps[0], weights[0], bias)
    for x, part in zip(maps[1:], weights[1:], strict=True):
        total = fused.update(x, total, part, None)
    return total


def add_pointwise(base: Tensor, x: Tensor, layer: nn.Conv2d, gain: Tensor, attention: Tensor | None = None) -> Tensor:
    """Compute ``base + gain * layer(attention * x)``.

    Args:
        base: (N, K, H, W).
        x: (N, C, H, W).
        layer: 1x1 convolution C -> K.
        gain: (1, K, 1, 1).
        attention: (N, C, 1, 1), or (N, C, H, W), or None for one.
    """
    products = _replaceable(layer) and not autocasts_to_half(x.device)
    if attention is not None and (not products or attention.shape[-2:] != (1, 1)):
        x, attention = x * attention, None
    if not products:
        return torch.addcmul(base, gain, layer(x))
    weight, bias = _scaled(layer, gain)
    if attention is not None:
        weight = weight * attention.flatten(1).unsqueeze(1)  # n k c
        weight = weight[0] if weight.shape[0] == 1 else weight
    if fused.runs(x, base):
        return fused.update(x, base, weight, bias)
    return _add_product(base, x, weight, bias)


def gated_features(
    x: Tensor, norm: LayerNorm2d, expand: nn.Conv2d, depthwise: nn.Conv2d, pool: MeanPool
) -> tuple[Tensor, Tensor]:
    """Compute ``gated = simple_gate(depthwise(expand(norm(x))))`` and ``pool(gated)``.

    Args:
        x: (N, C, H, W).
        norm: Over C channels.
        expand: 1x1 convolution C -> 2K.
        depthwise: 3x3 depthwise convolution of 2K channels.
        pool: Takes (N, K, H, W) to (N, K, 1, 1) or (N, K, H, W).
    """
    if not (fused.runs(x) and _replaceable(norm, expand, depthwise, pool)):
        gated = simple_gate(depthwise(expand(norm(x))))
        return gated, pool(gated)
    gated, mean = fused.norm_expand_depthwise(x, norm, expand.weight.flatten(1), expand.bias, depthwise, gates=True)
    return gated, mean if pool.takes_whole(x) else pool(gated)


def add_feed_forward(x: Tensor, norm: LayerNorm2d, expand: nn.Conv2d, project: nn.Conv2d, gain: Tensor) -> Tensor:
    """Compute ``x + gain * project(simple_gate(expand(norm(x))))``.

    Args:
        x: (N, C, H, W).
        norm: Over C channels.
        expand: 1x1 convolution C -> 2K.
        project: 1x1 convolution K -> C.
        gain: (1, C, 1, 1).
    """
    if fused.runs(x) and _replaceable(norm, expand, project):
        return fused.feed_forward(x, norm, expand, *_scaled(project, gain))
    return add_pointwise(x, simple_gate(expand(norm(x))), project, gain)


def add_scan(base: Tensor, x: Tensor, norm: LayerNorm2d, scan: GatedScan, gain: Tensor | None = None) -> Tensor:
    """Compute ``base + gain * scan(norm(x))``.

    Args:
        base: (N, C, H, W).
        x: (N, C, H, W).
        norm: Over C channels.
        scan: Takes (N, C, H, W) to the same.
        gain: (1, C, 1, 1), or None for one.
    """
    if autocasts_to_half(x.device) or not (_replaceable(scan) and _replaceable(scan.out_proj)):
        update = scan(norm(x))
        return base + update if gain is None else torch.addcmul(base, gain, update)
    weight, bias = _scaled(scan.out_proj, gain)
    if not (fused.runs(x, base) and _replaceable(norm, scan.in_proj, scan.depthwise, scan.out_norm)):
        return _add_product(base, scan.gated(norm(x)), weight, bias)
    features_weight, gate_weight = scan.in_proj.weight.chunk(2)
    features, _ = fused.norm_expand_depthwise(x, norm, features_weight, None, scan.depthwise, gates=False)
    return fused.gated_update(scan.scan(features), x, base, norm, gate_weight, scan.out_norm, weight)


def scan_inputs(features: Tensor, project: nn.Linear, convolution: nn.Conv1d, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Compute ``c = convolution(project(features))`` along rows put end to end, then ``spread @ c[:R]`` and ``c[R:]``.

    Args:
        features: (N, D, H, W).
        project: D -> K, without bias.
        convolution: Depthwise over K channels, 7 taps.
        spread: (D, R).

    Returns:
        (N, H W, D) and (N, H W, K - R).
    """
    rank = spread.shape[1]
    if fused.runs(features) and fused.fits(len(project.weight) - rank) and _replaceable(project, convolution):
        return fused.scan_inputs(features, project.weight, convolution, spread)
    convolved = convolution(linear(features, project).flatten(2)).transpose(1, 2)  # n l k
    return F.linear(convolved[..., :rank], spread), convolved[..., rank:]


def _replaceable(*modules: nn.Module) -> bool:
    """Whether weights may be read instead of calling modules: these are what they were built as, without hooks."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or nn.modules.module._has_any_global_hook():
        return False
    return all(_is_own(module) and not _has_hooks(module) for module in modules)


def _is_own(module: nn.Module) -> bool:
    """Whether nothing stands in the place of a module, as low-rank adapters do."""
    kind = type(module)
    return kind in _TORCH_MODULES or kind.__module__.startswith(_PACKAGE)


def _has_hooks(module: nn.Module) -> bool:
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def _scaled(layer: nn.Conv2d | nn.Linear, gain: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return weight (K, C) and bias (K,), if there is one, of ``gain * layer``."""
    weight, bias = layer.weight.flatten(1), layer.bias
    if gain is None:
        return weight, bias
    return weight * gain.view(-1, 1), None if bias is None else bias * gain.flatten()


def _add_product(base: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``base + weight @ x + bias`` at every pixel; weight (K, C), or (N, K, C) with one for each sample."""
    if bias is not None:
        base = base + bias.view(1, -1, 1, 1)
    base = base.permute(0, 2, 3, 1)  # n h w k
    x = x.permute(0, 2, 3, 1).flatten(1, 2)  # n l c
    if weight.ndim == 3:
        total = torch.baddbmm(base.flatten(1, 2), x, weight.transpose(1, 2))
    else:
        # The base plus the bias is a map of its own already: without autograd the product is added in place.
        add_product = torch.addmm if bias is None or torch.is_grad_enabled() else Tensor.addmm_
        total = add_product(base.flatten(0, 2), x.flatten(0, 1), weight.t())
    return total.view(base.shape).permute(0, 3, 1, 2)
