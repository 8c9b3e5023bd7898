"""The paper's operation counts, and a count by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from deeprftv2_arch.analysis.complexity import measure
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.cli.complexity import main
from deeprftv2_arch.utils.console import exit_code

ROOT = Path(__file__).parents[2]


def test_layers_counted_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1))
    assert measure(net, 10, 20).macs == 200 * (3 * 8 * 9 + 8 * 9 + 8 * 4)


@pytest.mark.parametrize(('fke', 'gmacs'), [(True, 74.35), (False, 66.39)])
def test_operations_of_s_are_the_papers(fke: bool, gmacs: float) -> None:
    result = measure(DeepRFTv2(block_types=[['naf'] * 3] * 2, fke=fke), 256, 256)
    assert result.macs / 1e9 == pytest.approx(gmacs, abs=0.005)


def test_the_command_prints_the_papers_figures_of_b() -> None:
    command = [sys.executable, '-m', 'deeprftv2_arch', 'complexity', '-opt', 'options/train_gopro.yml']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = [line.split()[-2 if line.endswith('GMACs') else -1] for line in done.stdout.splitlines() if '  ' in line]
    assert figures == ['30,117,560', '118.81', '4.12', '9.53']


SWINIR = '{type: SwinIR, img_size: 8, embed_dim: 8, depths: [1], num_heads: [2], window_size: 4}'
CHANNELS = 'num_in_ch: 1, num_out_ch: 1, num_channel: 4'
ECBSR = f'{{type: ECBSR, {CHANNELS}, num_block: 1, with_idt: true, act_type: prelu, scale: 2}}'
"""Networks that look into their tensors while they are built; the second one is of one channel."""


@pytest.mark.parametrize(
    'network',
    [SWINIR, ECBSR, f'{{type: WithFKE, after: conv_after_body, network: {SWINIR}}}'],
    ids=['SwinIR', 'ECBSR', 'WithFKE'],
)
def test_networks_that_look_into_their_tensors_are_run(tmp_path, capsys, network) -> None:
    (tmp_path / 'x.yml').write_text(f'network_g: {network}\n')
    main(['-opt', str(tmp_path / 'x.yml'), '--size', '8', '12'])
    options = yaml.safe_load(network)
    net = ARCH_REGISTRY.get(options.pop('type'))(**options)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == f'{parameters:,}'


@pytest.mark.parametrize(
    ('network', 'says'),
    [
        ('', 'network_g.type: expected the name'),
        ('{type: DeepRFTv2, widht: 4}', "unexpected keyword argument 'widht'"),
        (SWINIR, 'network_g, 256 x 250 pixels: it cannot be built or run (RuntimeError: '),
    ],
)
def test_a_network_that_cannot_be_built_is_told_in_one_line(tmp_path, capsys, network, says) -> None:
    file = tmp_path / 'x.yml'
    file.write_text(f'network_g: {network}\n')
    assert exit_code(lambda: main(['-opt', str(file), '--size', '256', '250'])) == 2
    assert f'Error: {file}: network_g' in (said := capsys.readouterr().err)
    assert says in said
    assert said.count('\n') == 1
