"""Published key names of ATD and ATD + FKE and ours: two names for the same weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from deeprftv2_arch.archs.atd_arch import ATD, ATDFKE
from deeprftv2_arch.checkpoints.io import mismatch
from deeprftv2_arch.checkpoints.published_keys.deeprftv2 import add_direction, count_numbers, published_fke_key
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.shapes_only import shapes_only

# Published checkpoints hold this table of pixel distances. It follows from the window size; ours has none.
INDEX_TABLE = 'relative_position_index_SA'
# The key by which published weights are known.
MARK = 'layers.0.residual_group.td'

# Prefixes of keys inside a layer: ours, published.
_LAYER = {
    'norm_attention.': 'norm1.',
    'qkv.': 'wqkv.',
    'window.bias_table': 'attn_win.relative_position_bias_table',
    'window.': 'attn_win.',
    'token.query.': 'attn_atd.wq.',
    'token.key.': 'attn_atd.wk.',
    'token.value.': 'attn_atd.wv.',
    'token.': 'attn_atd.',
    'category.': 'attn_aca.',
    'norm_ffn.': 'norm2.',
    'ffn.expand.': 'convffn.fc1.',
    'ffn.depthwise.': 'convffn.dwconv.depthwise_conv.0.',
    'ffn.project.': 'convffn.fc2.',
    'refinement.gate': 'sigma',
    'refinement.': 'norm3.',
}
# Prefixes of the other keys.
_NETWORK = {
    'shallow.': 'conv_first.',
    'entry_norm.': 'patch_embed.norm.',
    'exit_norm.': 'norm.',
    'exit_conv.': 'conv_after_body.',
    'upsampler.entry.': 'conv_before_upsample.0.',
    'upsampler.up0.': 'conv_up1.',
    'upsampler.up1.': 'conv_up2.',
    'upsampler.refine.': 'conv_hr.',
    'upsampler.exit.': 'conv_last.',
}


def _rename(key: str, table: Mapping[str, str]) -> str | None:
    for ours, published in table.items():
        if key.startswith(ours):
            return published + key.removeprefix(ours)
    return None


def published_layer_key(key: str) -> str:
    """Return the published name of a parameter inside an ATD layer; ``key`` is relative to the layer.

    Raises:
        UserError: The key is none of a layer.
    """
    name = _rename(key, _LAYER)
    if name is None:
        raise UserError(f'{key!r} is not a parameter of a layer of ATD, so it has no published name.')
    return name


def published_key(key: str) -> str:
    """Return the published name of a parameter of :class:`ATD` or :class:`ATDFKE`.

    Raises:
        UserError: The key is none of them.
    """
    if found := re.fullmatch(r'blocks\.(\d+)\.layers\.(\d+)\.(.+)', key):
        return f'layers.{found[1]}.residual_group.layers.{found[2]}.{published_layer_key(found[3])}'
    if found := re.fullmatch(r'blocks\.(\d+)\.dictionary', key):
        return f'layers.{found[1]}.residual_group.td'
    if found := re.fullmatch(r'blocks\.(\d+)\.(conv\..+)', key):
        return f'layers.{found[1]}.{found[2]}'
    if found := re.fullmatch(r'estimators\.(\d+)\.(.+)', key):
        return f'ker_ests.{found[1]}.{published_fke_key(found[2])}'
    if found := re.fullmatch(r'upsampler\.expand(\d+)\.(\w+)', key):
        return f'upsample.{2 * int(found[1])}.{found[2]}'
    name = _rename(key, _NETWORK)
    if name is None:
        raise UserError(f'{key!r} is not a parameter of ATD or ATDFKE, so it has no published name.')
    return name


def is_published(state: Mapping[str, Any]) -> bool:
    """Whether the keys are published names of ATD or ATD + FKE."""
    return MARK in state


def network_type(state: Mapping[str, Any]) -> str:
    """Return what `network_g.type` must be for published weights."""
    return 'ATDFKE' if any(key.startswith('ker_ests.') for key in state) else 'ATD'


def is_ours(state: Mapping[str, Any]) -> bool:
    """Whether the keys are those of our :class:`ATD` or :class:`ATDFKE`."""
    return 'blocks.0.dictionary' in state


def read_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read off published weights how the network must be built for them.

    Args:
        state: Weights with published names.

    Returns:
        Keyword arguments of the class. ``group`` leaves no trace in the weights: it is 128 for the ``direct`` upsampler
        of the light networks, and 256 otherwise, as published. Tiles are not among them.

    Raises:
        UserError: The weights are not those of an ATD.
    """

    def shape(key: str) -> tuple[int, ...]:
        if key not in state:
            raise UserError(f'These are not published weights of ATD: {key} is missing.')
        return tuple(state[key].shape)

    def count(pattern: str) -> int:
        return count_numbers(state, pattern)

    layer = 'layers.0.residual_group.layers.0.'
    blocks = count(r'layers\.(\d+)\.')
    width, in_channels = shape('conv_first.weight')[:2]
    rows, heads = shape(f'{layer}attn_win.relative_position_bias_table')
    upsampler, upscale = _read_upsampler(state, shape, in_channels)
    return {
        'upscale': upscale,
        'in_channels': in_channels,
        'width': width,
        'depths': [count(rf'layers\.{block}\.residual_group\.layers\.(\d+)\.') for block in range(blocks)],
        'heads': heads,
        'window': (math.isqrt(rows) + 1) // 2,
        'group': 128 if upsampler == 'direct' else 256,
        'tokens': shape(MARK)[0],
        'code_channels': shape(f'{layer}attn_atd.wq.weight')[0],
        'ffn_ratio': shape(f'{layer}convffn.fc1.weight')[0] / width,
        'ffn_kernel': shape(f'{layer}convffn.dwconv.depthwise_conv.0.weight')[-1],
        'exit_convs': 1 if 'conv_after_body.weight' in state else 3,
        'upsampler': upsampler,
    }


def _read_upsampler(
    state: Mapping[str, Tensor], shape: Callable[[str], tuple[int, ...]], in_channels: int
) -> tuple[str, int]:
    if 'conv_up1.weight' in state:
        return 'nearest', 4
    if 'conv_before_upsample.0.weight' not in state:
        return 'direct', math.isqrt(shape('upsample.0.weight')[0] // in_channels)
    steps = [key for key in state if re.fullmatch(r'upsample\.\d+\.weight', key)]
    return 'pixelshuffle', math.prod(math.isqrt(shape(key)[0] // shape(key)[1]) for key in steps)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give published weights our names and shapes.

    Args:
        state: Weights with published names, those of a whole network.

    Returns:
        Weights for the network of ``read_options(state)``. Tensors are shared with ``state``, not copied. The published
        table of pixel distances, which holds no weights, is left out.

    Raises:
        UserError: A key is missing, left over or wrongly shaped, or the table of distances is not the known one.
    """
    options = read_options(state)
    name = network_type(state)
    with shapes_only():
        network = {'ATD': ATD, 'ATDFKE': ATDFKE}[name](**options).state_dict()
    if problem := mismatch(to_published(network), state):
        raise UserError(f'These weights do not fit {name}: {problem}')
    table = state[INDEX_TABLE]
    if not table.is_meta and not torch.equal(table.cpu().long(), distance_table(options['window'])):
        raise UserError(f'{INDEX_TABLE} is not the table of distances in a window of {options["window"]} pixels.')
    return {key: state[published_key(key)].reshape(tensor.shape) for key, tensor in network.items()}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights of :class:`ATD` or :class:`ATDFKE` the published names and shapes, and add the table of distances.

    Args:
        state: Weights with our names.

    Raises:
        UserError: A key has no published name.
    """
    rows = state['blocks.0.layers.0.window.bias_table'].shape[0]
    table = distance_table((math.isqrt(rows) + 1) // 2)
    return {INDEX_TABLE: table} | add_direction({published_key(key): tensor for key, tensor in state.items()})


def distance_table(window: int) -> Tensor:
    """Return (window^2, window^2), the row of the bias table for each pair of pixels in a window: query by key."""
    pixels = torch.arange(window)
    y, x = pixels.repeat_interleave(window), pixels.repeat(window)
    return (y[:, None] - y + window - 1) * (2 * window - 1) + x[:, None] - x + window - 1
