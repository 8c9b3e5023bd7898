"""Every block against the published values: outputs, input gradients, parameter gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import TOLERANCE, distance, fill, load
from torch import nn

from deeprftv2_arch.checkpoints.published_keys.deeprftv2 import published_block_key
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock, turn_back
from deeprftv2_arch.nn.stack import BlockStack
from deeprftv2_arch.nn.vsblock import SelectiveScan2d, VSBlock

GOLDEN = load('modules')


def scan_key(key: str) -> str:
    return published_block_key(f'scan.{key}').removeprefix('attn.')


def stack_key(key: str) -> str:
    index, rest = key.split('.', 1)
    return f'blocks.{index}.{published_block_key(rest)}'


BLOCKS = {
    'NAFBlock48': (lambda: NAFBlock(48), published_block_key),
    'LocalNAFBlock48_ts12': (lambda: BlockStack('localnaf', 48, 1, train_size=12)[0], published_block_key),
    'EVSS48': (lambda: VSBlock(48), published_block_key),
    'EVSS2D48': (lambda: SelectiveScan2d(48), scan_key),
    'EVSS2D48_patch8': (lambda: SelectiveScan2d(48, window=8), scan_key),
    'NAFEVSBlock96_idx0': (lambda: NAFEVSBlock(96, 0), published_block_key),
    'NAFEVSBlock96_idx1': (lambda: NAFEVSBlock(96, 1), published_block_key),
    'NAFEVSx4': (lambda: BlockStack('nafevs', 96, 4), stack_key),
}


@pytest.mark.parametrize('name', BLOCKS)
@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
def test_block_has_the_published_values(name: str, dtype: torch.dtype) -> None:
    make, rename = BLOCKS[name]
    block = fill(make(), rename, dtype)
    x = torch.from_numpy(GOLDEN[f'{name}_in0']).to(dtype).requires_grad_()
    output = block(x)
    weights = np.random.default_rng(77).standard_normal(tuple(output.shape))
    (output * torch.from_numpy(weights).to(dtype)).sum().backward()
    assert distance(output[:, ::12], GOLDEN[f'{name}_out']) < TOLERANCE[dtype]
    assert distance(x.grad[:, ::12], GOLDEN[f'{name}_gin0']) < TOLERANCE[dtype]
    norms = {rename(key): parameter.grad.norm() for key, parameter in block.named_parameters()}
    expected = dict(zip(GOLDEN[f'{name}_gkeys'].tolist(), GOLDEN[f'{name}_gnorms'].tolist(), strict=True))
    assert norms.keys() == expected.keys()
    ours = torch.stack([norms[key] for key in expected])
    assert distance(ours, np.array(list(expected.values()))) < TOLERANCE[dtype]


class Turn(nn.Module):
    """Only the turn that a NAFEVSBlock of this index gives its input."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.transposes = index % 2 == 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(2, 3) if self.transposes else x.flip(2, 3)


@pytest.mark.parametrize('depth', range(9))
def test_a_stack_of_any_depth_keeps_the_orientation(depth: int) -> None:
    x = torch.rand(2, 3, 5, 7)
    turned = nn.Sequential(*(Turn(index) for index in range(depth)))(x)
    assert torch.equal(turn_back(turned, depth), x)
    # Fresh blocks have beta = gamma = 0: all that is left of the stack are its turns.
    x = torch.rand(1, 4, 5, 7)
    assert torch.equal(BlockStack('nafevs', 4, depth)(x), x)


def test_a_local_block_trained_on_larger_crops_is_the_global_one() -> None:
    local = fill(BlockStack('localnaf', 8, 1, train_size=64), stack_key)
    plain = fill(BlockStack('naf', 8, 1), stack_key)
    x = torch.rand(1, 8, 20, 31, dtype=torch.float64)
    assert torch.equal(local(x), plain(x))


@pytest.mark.parametrize(('kind', 'message'), [('nafs', 'naf, nafevs, localnaf'), ('localnaf', 'train_size')])
def test_wrong_block_types_are_named(kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlockStack(kind, 8, 1)
