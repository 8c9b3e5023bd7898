"""Published key names of DeepRFTv2 and ours: two names for the same weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.checkpoints.io import mismatch
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.shapes_only import shapes_only

PREFIX = 'global_model.'
_SCALES = ('max', 'mid')

# Prefixes of keys inside a block: ours, published. The first that fits counts.
_BLOCK = (
    ('scan.x_proj.weight', 'attn.x_proj_weight'),
    ('scan.dt_proj.weight', 'attn.dt_projs_weight'),
    ('scan.dt_proj.bias', 'attn.dt_projs_bias'),
    ('scan.A_log', 'attn.A_logs'),
    ('scan.D', 'attn.Ds'),
    ('scan.depthwise.', 'attn.conv2d.'),
    ('scan.sequence_conv.', 'attn.x_conv.'),
    ('scan.', 'attn.'),
    ('norm_scan.', 'norm_mamba.'),
    ('norm.', 'norm1.'),
    ('expand.', 'conv1.'),
    ('depthwise.', 'conv2.'),
    ('project.', 'conv3.'),
    ('attention.', 'sca.1.'),
    ('ffn_expand.', 'conv4.'),
    ('ffn_project.', 'conv5.'),
    ('local_gain', 'lamb_l'),
    ('global_gain', 'lamb_g'),
    ('scan_gain', 'alpha'),
)
_FKE = (
    ('levels.0.entry.project.', 'feature_extract.intro_inp.0.'),
    ('levels.0.entry.mix.', 'intro.ending.0.'),
    ('convolution.project.', 'feature_extract.intro_deconv.0.'),
    ('convolution.head.norm.', 'end_ker1.norm.'),
    ('convolution.head.project.', 'end_ker1.ending.0.'),
    ('convolution.fuse.', 'deblur_feature1.0.'),
    ('tail.', 'end_feature1.0.'),
)
# The released scan can hold several directions; their axis, always of length one, leads these weights.
_WITH_DIRECTION = ('x_proj_weight', 'dt_projs_weight', 'dt_projs_bias')


def _rename(key: str, table: tuple[tuple[str, str], ...]) -> str:
    for ours, published in table:
        if key.startswith(ours):
            return published + key[len(ours) :]
    return key


def published_block_key(key: str) -> str:
    """Return the published name of a parameter of a NAFBlock, NAFEVSBlock or VSBlock; ``key`` is relative to it."""
    return _rename(key, _BLOCK)


def published_fke_key(key: str) -> str:
    """Return the published name of a parameter of a Fourier kernel estimator; ``key`` is relative to it."""
    if found := re.fullmatch(r'scalings\.(\d+)\.weight', key):
        return f'subnets_ker.alpha{found[1]}'
    if found := re.fullmatch(r'levels\.(\d+)\.fuse\.(\w+)', key):
        return f'subnets_ker.level{found[1]}.fusion.down.0.{found[2]}'
    if found := re.fullmatch(r'levels\.(\d+)\.block\.(.+)', key):
        return f'subnets_ker.level{found[1]}.blocks.0.{published_block_key(found[2])}'
    return _rename(key, _FKE)


def _published_unet_key(part: str, key: str, column: str, scale: str) -> str:
    """Return the published name of a parameter of the encoder or decoder; ``key`` is relative to it."""
    half = 'subnets' if part == 'encoder' else 'subdenets'
    net = f'{half}_{scale}.{column}'
    if found := re.fullmatch(r'scalings\.(\d+)\.weight', key):
        return f'{net}.alpha{found[1]}'
    found = re.fullmatch(r'levels\.(\d+)\.(\w+)\.(.+)', key)
    if found is None:
        raise UserError(f'{key!r} is not a parameter of an encoder or decoder, so it has no published name.')
    level, inside, rest = found.groups()
    if inside == 'blocks':
        block, rest = rest.split('.', 1)
        return f'{net}.level{level}.blocks.{block}.{published_block_key(rest)}'
    if inside == 'merge':
        return f'{net}.level{level}.fusion.concat_conv.0.{rest}'
    if inside == 'finer':
        return f'down_max{int(level) + 1}.{column}.body.0.{rest}'
    if inside == 'up':
        return f'{net}.level{level}.fusion.up.0.body.0.{rest}'
    if level != '0':
        return f'{net}.level{level}.fusion.down.0.body.0.{rest}'
    entry, name = rest.split('.', 1)
    if entry == 'project':
        return f'patch_embed_{scale}s.{column}.proj.{name}'
    return f'patch_embed_{scale}s2.{column}.{name}'


def published_key(key: str) -> str:
    """Return the published name of a parameter of :class:`DeepRFTv2`.

    Raises:
        UserError: The key is none of a DeepRFTv2 with one or two scales.
    """
    found = re.fullmatch(r'columns\.(\d+)\.unets\.([01])\.(encoder|decoder|fusion|head|fke)\.(.+)', key)
    if found is None:
        raise UserError(f'{key!r} is not a parameter of DeepRFTv2 with one or two scales, so it has no published name.')
    column, scale, part, rest = found[1], _SCALES[int(found[2])], found[3], found[4]
    if part == 'head':
        name = f'output_{scale}s.{column}.{rest}'
    elif part == 'fusion':
        name = _rename(rest, (('down.', f'down_mid2max.{column}.body.0.'), ('merge.', f'fusd_max_2.{column}.')))
    elif part == 'fke':
        name = f'{"" if scale == "max" else "mid_"}kernel_estimator.{column}.{published_fke_key(rest)}'
    else:
        name = _published_unet_key(part, rest, column, scale)
    return PREFIX + name


def is_published(state: Mapping[str, Any]) -> bool:
    """Whether the keys are published names of DeepRFTv2."""
    return any(key.startswith(PREFIX) for key in state)


def network_type(state: Mapping[str, Any]) -> str:
    """Return what `network_g.type` must be for published weights."""
    return 'DeepRFTv2'


def read_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read off published weights how :class:`DeepRFTv2` must be built for them.

    Args:
        state: Weights with published names.

    Returns:
        Keyword arguments ``in_channels``, ``width``, ``num_blocks``, ``block_types``, ``num_columns`` and ``fke``. What
        leaves no trace in the weights (windows, tiles, local pooling, reversibility) is not among them.

    Raises:
        UserError: The weights are not those of a DeepRFTv2.
    """
    embedding = state.get(f'{PREFIX}patch_embed_maxs.0.proj.weight')
    if embedding is None:
        raise UserError(
            f'These are not published weights of DeepRFTv2: {PREFIX}patch_embed_maxs.0.proj.weight is missing.'
        )

    def count(pattern: str) -> int:
        return count_numbers(state, PREFIX + pattern)

    scales = [scale for scale in _SCALES if count(rf'subnets_{scale}\.(\d+)\.')]
    levels = count(r'subnets_max\.0\.level(\d+)\.')

    def kind(scale: str, level: int) -> str:
        return 'nafevs' if f'{PREFIX}subnets_{scale}.0.level{level}.blocks.0.norm_mamba.weight' in state else 'naf'

    return {
        'in_channels': embedding.shape[1],
        'width': embedding.shape[0],
        'num_blocks': [count(rf'subnets_max\.0\.level{level}\.blocks\.(\d+)\.') for level in range(levels)],
        'block_types': [[kind(scale, level) for level in range(levels)] for scale in scales],
        'num_columns': count(r'subnets_max\.(\d+)\.'),
        'fke': count(r'kernel_estimator\.(\d+)\.') > 0,
    }


def count_numbers(state: Mapping[str, Any], pattern: str) -> int:
    """Count the modules of a list: one more than the highest number that the pattern's group finds in the keys."""
    highest = -1
    for key in state:
        found = re.match(pattern, key)
        if found is not None:
            highest = max(highest, int(found[1]))
    return highest + 1


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give published weights our names and shapes.

    Args:
        state: Weights with published names, those of a whole DeepRFTv2.

    Returns:
        Weights for ``DeepRFTv2(**read_options(state))``. Tensors are shared with ``state``, not copied.

    Raises:
        UserError: A key is missing, left over or wrongly shaped.
    """
    with shapes_only():
        network = DeepRFTv2(**read_options(state)).state_dict()
    if problem := mismatch(to_published(network), state):
        raise UserError(f'These weights do not fit DeepRFTv2: {problem}')
    return {key: state[published_key(key)].reshape(tensor.shape) for key, tensor in network.items()}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights of :class:`DeepRFTv2` the published names and shapes.

    Args:
        state: Weights with our names.

    Raises:
        UserError: A key has no published name.
    """
    return add_direction({published_key(key): tensor for key, tensor in state.items()})


def add_direction(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of the scan, under their published names, the leading axis that the published ones have."""
    return {key: tensor[None] if key.endswith(_WITH_DIRECTION) else tensor for key, tensor in state.items()}
