"""`deeprftv2 export`: the file computes what the network does at sizes it was not recorded with, or is not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.cli import export
from deeprftv2_arch.export import onnx_file
from deeprftv2_arch.export.onnx_file import export_onnx
from deeprftv2_arch.restoration.network import RestorationNetwork, load_network
from deeprftv2_arch.utils.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ('onnx', 'onnxscript', 'onnxruntime')),
        reason='onnx, onnxscript or onnxruntime is not installed',
    ),
]
PLAIN = {'width': 8, 'num_blocks': [1, 1], 'num_columns': 1, 'fke': False}
ANY_SIZE: dict[str, tuple[str, dict[str, Any]]] = {
    'convolutions': ('DeepRFTv2', {**PLAIN, 'block_types': [['naf', 'naf'], ['naf', 'naf']]}),
    'the scan': ('DeepRFTv2', {**PLAIN, 'block_types': [['naf', 'nafevs']]}),
}


def weights_of(name: str, options: dict[str, Any], folder: Path) -> Path:
    """A file of a small network whose parameters all matter."""
    torch.manual_seed(0)
    net = ARCH_REGISTRY.get(name)(**options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return save_network_file(folder / f'{name}.safetensors', name, options, net.state_dict())


def run_file(path: Path, image: Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(['restored'], {'image': image.numpy()})[0]


@pytest.mark.parametrize('case', ANY_SIZE)
def test_any_size(case, tmp_path, capsys):
    weights = weights_of(*ANY_SIZE[case], tmp_path)
    target = tmp_path / 'deep' / 'net.onnx'
    export.main([str(weights), '--onnx', str(target)])
    assert f'{weights} -> {target}: DeepRFTv2, images of any size' in capsys.readouterr().out
    network = load_network(weights)
    for size in ((33, 71), (8, 120)):  # neither recorded nor compared when it was exported
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            expected = network(image).numpy()
        np.testing.assert_allclose(run_file(target, image), expected, atol=1e-4)
    assert [path.name for path in target.parent.iterdir()] == ['net.onnx']


class Lists(nn.Module):
    """A part that no export can follow: what it does depends on the values of the image."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.mean() > 0.5 else x


class Random(nn.Module):
    """Computes something else each time."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


def network_of(part: nn.Module) -> RestorationNetwork:
    return RestorationNetwork(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), part).eval(), 'Test', 1, 3)


def test_the_part_that_stands_in_the_way_is_named(tmp_path):
    with pytest.raises(UserError, match=r'^Test cannot be exported for images of any size: 1 \(Lists\): ') as caught:
        export_onnx(network_of(Lists()), tmp_path / 'net.onnx')
    assert '\n' not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_computes_something_else_is_not_kept(tmp_path):
    target = tmp_path / 'net.onnx'
    target.write_text('the one before')
    with pytest.raises(UserError, match='computes something else'):
        export_onnx(network_of(Random()), target)
    assert target.read_text() == 'the one before'
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_stays_of_an_interrupted_export(tmp_path, monkeypatch):
    def interrupted(*arguments: object) -> float:
        assert (tmp_path / 'net.onnx.part').stat().st_size > 0
        assert not (tmp_path / 'net.onnx').exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_file, '_largest_difference', interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(network_of(nn.Identity()), tmp_path / 'net.onnx', size=(16, 16))
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(
        UserError, match=r"^An export needs the package onnxruntime\. Try: pip install 'deep.*\[onnx\]'$"
    ):
        export.main(['x.safetensors', '--onnx', 'x.onnx'])


def test_another_ending(tmp_path):
    with pytest.raises(UserError, match=r'net\.pt: let the name end in \.onnx\.$'):
        export_onnx(network_of(nn.Identity()), tmp_path / 'net.pt')
