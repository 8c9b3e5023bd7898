"""`deeprftv2 analyze`: the figures of a tiny checkpoint, their numbers, and what is wrong in one line."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from deeprftv2_arch.analysis.blur_pattern import blur_pattern
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.cli.analyze import FIGURES, main
from deeprftv2_arch.cli.analyze_inputs import read_rgb
from deeprftv2_arch.utils.console import exit_code

pytest.importorskip('matplotlib', reason='the figures are drawn with Matplotlib')
NETWORK = {'width': 4, 'num_blocks': [1, 1], 'block_types': [['naf'] * 2] * 2, 'num_columns': 1}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five pairs of images, option files and checkpoints with and without estimators, in the current folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for folder in ('blur', 'sharp'):
        Path(folder).mkdir()
    for number in range(5):
        sharp = random.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(f'sharp/{number}.png', sharp)
        cv2.imwrite(f'blur/{number}.png', cv2.blur(sharp, (5, 1)))
    cv2.imwrite('small.png', sharp[:32, :32])
    for name, fke in (('with', True), ('without', False)):
        torch.manual_seed(0)
        network = {**NETWORK, 'fke': fke}
        torch.save({'params': DeepRFTv2(**network).state_dict()}, f'{name}.pth')
        options = {'network_g': {'type': 'DeepRFTv2', **network}, 'path': {'pretrain_network_g': f'{name}.pth'}}
        Path(f'{name}.yml').write_text(yaml.safe_dump(options))
    return tmp_path


PAIR = ['--blurred', 'blur/0.png', '--sharp', 'sharp/0.png']
FOLDERS = ['--blurred', 'blur', '--sharp', 'sharp']


def test_the_blur_pattern_of_images(project: Path) -> None:
    main(['blur-pattern', 'blur', '--out', 'out'])
    assert len(list(Path('out').glob('*.png'))) == 5
    pattern = np.load('out/0_blur_pattern.npz')['pattern']
    np.testing.assert_allclose(pattern, blur_pattern(read_rgb('blur/0.png').double()).mean(0).numpy())


def test_kernels_of_two_checkpoints_side_by_side(project: Path) -> None:
    Path('other.yml').write_text(Path('with.yml').read_text())
    main(['kernels', '-opt', 'with.yml', 'other.yml', *PAIR, '--kernel-size', '33', '--out', 'out'])
    numbers = np.load('out/0_kernels.npz')
    assert numbers['with (1).kernels'].shape == (4, 33, 33)
    np.testing.assert_array_equal(numbers['with (1).kernels'], numbers['other (2).kernels'])
    # The box blur of five pixels along a row, somewhat sharpened by the mirrored borders.
    true = numbers['division_kernel']
    assert true[16, 14:19].sum() > 0.8
    assert cv2.imread('out/0_kernels.png').shape[0] > 100


def test_the_score_counts_every_image(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(['kernels', '-opt', 'with.yml', '--score', '--sharp', 'sharp', '--images', '3', '--kernel-size', '33'])
    with open('results/analyze/kernel_scores.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == ['0.png', '0.png', '1.png', '1.png', '2.png', '2.png']
    assert all(0 <= float(row['own']) <= 1 for row in rows)
    assert 'with those of other images' in capsys.readouterr().out


def test_cka_compares_all_features_with_the_kernel(project: Path) -> None:
    main(['cka', '-opt', 'with.yml', *FOLDERS, '--crop', '32', '--batch', '5', '--out', 'out'])
    numbers = np.load('out/with_cka.npz')
    assert len(numbers['names']) == 2 * (1 + 5)
    np.testing.assert_allclose(np.diag(numbers['cka']), 1)
    np.testing.assert_allclose(numbers['cka'], numbers['cka'].T)
    with open('out/with_cka.csv', newline='') as file:
        assert next(csv.reader(file))[1:] == numbers['names'].tolist()


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['kernel'], "called 'kernel' (did you mean 'kernels'"),
        (['blur-pattern', 'nowhere.png'], 'nowhere.png: there is no image'),
        (['kernels', '-opt', 'without.yml', *PAIR, '--kernel-size', '33'], 'no Fourier kernel estimators'),
        (['cka', '-opt', 'without.yml', *FOLDERS], 'no Fourier kernel estimators'),
        (['kernels', '-opt', 'with.yml', '--blurred', 'blur/0.png', '--sharp', 'small.png'], 'these are no pair'),
        (['kernels', '-opt', 'with.yml', *PAIR], '--kernel-size 65: the middle 65 x 65 of a map of 48 x 64'),
        (['kernels', '-opt', 'with.yml', *PAIR, '--weights', 'with.pth', 'with.pth'], 'give one of each'),
        (['kernels', '-opt', 'with.yml', '--sharp', 'sharp/0.png'], 'Give the blurred image with --blurred'),
        (['cka', '-opt', 'with.yml', *FOLDERS, '--batch', '3'], 'at least 4 images in a batch'),
        (['cka', '-opt', 'with.yml', *FOLDERS, '--crop', '64'], 'smaller than the crops of 64'),
    ],
)
def test_mistakes_are_told_in_one_line(project: Path, capsys: pytest.CaptureFixture[str], arguments, says) -> None:
    assert exit_code(lambda: main(arguments)) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith('Error')]
    assert len(said) == 1
    assert says in said[0]
    assert not Path('results').exists()


def test_help_lists_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--help']) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in FIGURES)
