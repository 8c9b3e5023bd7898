"""Measuring on photographs: filters against scikit-image, alignment against a known homography, pairs, the command."""

from __future__ import annotations

import csv
import math
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from torch import nn

from deeprftv2_arch.archs import ATD
from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.cli import evaluate_photos
from deeprftv2_arch.data import SynthesizedBlurDataset
from deeprftv2_arch.data.sampling import Sample
from deeprftv2_arch.metrics.pixelwise import psnr
from deeprftv2_arch.restoration.evaluation import filters
from deeprftv2_arch.restoration.evaluation.alignment import BORDER, align, psnr_after_light
from deeprftv2_arch.restoration.evaluation.evaluation import evaluate
from deeprftv2_arch.restoration.evaluation.measuring import Gain, Gains
from deeprftv2_arch.restoration.evaluation.pairs import Pair, load_pairs
from deeprftv2_arch.restoration.evaluation.scenes import LEAST_CORRELATION, find_scenes, open_scene
from deeprftv2_arch.utils.errors import UserError


@pytest.fixture(scope='module')
def photograph() -> np.ndarray:
    """(512, 512, 3) RGB uint8."""
    return skimage.data.astronaut()


@pytest.fixture
def sharp_folder(tmp_path, photograph) -> Path:
    folder = tmp_path / 'sharp photographs'
    folder.mkdir()
    save(folder / 'a.png', photograph[:200, :240])
    save(folder / 'b.png', photograph[300:, 200:400])
    return folder


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])


def nothing_told(items, label):
    return items


def blurred_by(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def test_unsharp_mask_is_that_of_scikit_image(photograph):
    image = filters.to_float(photograph[100:180, 100:170])
    for radius, amount in ((0.6, 2.2), (2.8, 0.3)):
        ours = filters.unsharp_mask(image, radius, amount)
        for colour in range(3):
            expected = skimage.filters.unsharp_mask(image[..., colour], radius, amount, preserve_range=True)
            np.testing.assert_allclose(ours[..., colour], expected, atol=1e-5)


def test_wiener_filter_is_that_of_scikit_image(photograph):
    image = filters.to_float(photograph[100:180, 100:171])
    pad = filters.PADDING
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), 'reflect').astype(float)
    for kernel, balance in ((filters.disc(2), 0.003), (filters.gaussian(0.6), 0.1)):
        expected = [skimage.restoration.wiener(padded[..., c], kernel, balance, clip=False) for c in range(3)]
        ours = filters.wiener_filter(image, kernel, balance)
        np.testing.assert_allclose(ours, np.stack(expected, -1)[pad:-pad, pad:-pad], atol=1e-5)


def test_kernels_have_the_moments_of_their_shapes():
    for kernel, variance in ((filters.disc(3), 3**2 / 4), (filters.gaussian(1.3), 1.3**2)):
        place = np.arange(len(kernel)) - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1)
        assert kernel.sum(0) @ place == pytest.approx(0, abs=1e-12)
        assert kernel.sum(0) @ place**2 == pytest.approx(variance, rel=0.05)


def test_the_best_parameters_are_found(photograph):
    sharp = photograph[100:228, 100:228]
    pairs = [Pair('a', blurred_by(sharp, filters.disc(2)), sharp)]
    fitted = filters.fit_wiener_filter(pairs)
    assert fitted.name.startswith('Wiener filter (disc of radius 2, ')
    before, after = (filters.psnr_8_bits(image, sharp) for image in (pairs[0].blurred, fitted.run(pairs[0].blurred)))
    assert after > before + 4

    softened = [Pair('a', sharp, np.rint(filters.unsharp_mask(filters.to_float(sharp), 1.4, 0.6) * 255).clip(0, 255))]
    assert filters.fit_unsharp_mask(softened).name == 'unsharp mask (radius 1.4, amount 0.6)'


def test_alignment_finds_a_known_homography(photograph):
    turned = cv2.getRotationMatrix2D((256, 256), 4, 1.03)
    turned[:, 2] += 12, -9
    homography = np.vstack([turned, [2e-5, -3e-5, 1]])
    blurred = blurred_by(filters.to_float(photograph), filters.gaussian(3)) * np.float32(0.8) + np.float32(0.05)
    moved = cv2.warpPerspective(filters.to_float(photograph), homography, (512, 512), flags=cv2.INTER_CUBIC)
    alignment = align(moved, blurred)
    assert alignment.correlation > 0.97
    assert 0.7 < alignment.mask.mean() < 0.95
    assert not alignment.mask[:BORDER].any()
    there = alignment.mask
    assert psnr(alignment.sharp[there], filters.to_float(photograph)[there]) > 30
    assert psnr(moved[there], filters.to_float(photograph)[there]) < 16


def test_gain_and_offset_of_each_colour_do_not_count(photograph):
    sharp = filters.to_float(photograph)
    alignment = align(sharp, sharp)
    noisy = sharp + np.float32(0.02) * np.random.default_rng(0).standard_normal(sharp.shape).astype(np.float32)
    value = psnr_after_light(noisy, alignment)
    assert value == pytest.approx(-20 * math.log10(0.02), abs=0.1)
    assert psnr_after_light(noisy * [0.5, 0.7, 0.9] + [0.1, 0, -0.1], alignment) == pytest.approx(value, abs=1e-3)


def test_pairs_are_those_of_the_data_set_and_depend_on_their_names(sharp_folder):
    first, second = load_pairs(sharp_folder, 64, 1)
    assert (first.name, first.blurred.shape, first.sharp.dtype) == ('a', (64, 64, 3), np.uint8)
    data = SynthesizedBlurDataset({'name': 'x', 'type': 'x', 'phase': 'val', 'dataroot_gt': str(sharp_folder)})
    item = data[Sample(0, (64, 64), zlib.crc32(b'a'))]
    np.testing.assert_array_equal(np.rint(item['lq'].numpy().transpose(1, 2, 0) * 255), first.blurred)
    (sharp_folder / 'a.png').unlink()
    (alone,) = load_pairs(sharp_folder, 64, 1)
    np.testing.assert_array_equal(alone.blurred, second.blurred)
    assert [pair.name for pair in load_pairs(sharp_folder, 64, 2)] == ['b-1', 'b-2']


def test_a_network_that_does_nothing_gains_nothing(sharp_folder, restorer_of, tmp_path):
    (tmp_path / 'weights').write_bytes(b'')
    found = evaluate(
        restorer_of(nn.Identity()), tmp_path / 'weights', load_pairs(sharp_folder, 64, 1), [], nothing_told
    )
    assert [gain.psnr for gain in found.pairs['test'].images] == [0, 0]
    assert set(found.sharp.values()) == {math.inf}
    assert len(found.pairs) == 3
    for method, gains in found.pairs.items():
        assert math.isfinite(gains.mean), method


def test_pictures_are_chosen_by_rule():
    by_name = {'a': 1, 'b': -1, 'c': 3, 'd': 2, 'e': 0}
    gains = Gains(tuple(Gain(name, 20, 20 + gain, 0, 0, ()) for name, gain in by_name.items()))
    assert {rank: gain.name for rank, gain in gains.by_rule().items()} == {'best': 'c', 'median': 'a', 'worst': 'b'}
    assert (gains.mean, gains.median, gains.worst, gains.worse) == (1, 1, -1, 1)


@pytest.fixture
def scenes_folder(tmp_path, photograph) -> Path:
    """One scene that can be aligned, in motion and out of focus, and one that cannot."""
    folder = tmp_path / 'scenes'
    save(folder / '1_PHONE_S.png', photograph)
    save(folder / '1_PHONE_M.png', blurred_by(np.roll(photograph, 5, 1), np.full((1, 9), 1 / 9)))
    save(folder / '1_PHONE_F.png', blurred_by(photograph, filters.disc(3)))
    save(folder / '2_PHONE_S.png', photograph)
    save(folder / '2_PHONE_M.png', skimage.data.coffee()[:, :400])
    return folder


def test_scenes_by_their_names_and_by_folders(scenes_folder, tmp_path, photograph):
    scenes = find_scenes(scenes_folder)
    assert [scene.name for scene in scenes] == ['1_PHONE_F', '1_PHONE_M', '2_PHONE_M']
    assert [open_scene(scene).fits for scene in scenes] == [True, True, False]
    for side in ('blur', 'sharp'):
        save(tmp_path / 'two' / side / 'x.png', photograph)
    assert [scene.name for scene in find_scenes(tmp_path / 'two')] == ['x']


def test_the_command(sharp_folder, scenes_folder, tiny_weights, tmp_path, capsys):
    arguments = ['--weights', str(tiny_weights), '--crop', '48', '--device', 'cpu', '--out', str(tmp_path / 'out')]
    evaluate_photos.main(['--sharp', str(sharp_folder), '--pairs', str(scenes_folder), *arguments])
    told = capsys.readouterr().out
    figures = (tmp_path / 'out/figures.md').read_text()
    assert told.startswith(figures)
    assert f'correlation below {LEAST_CORRELATION}): 2_PHONE_M (0.' in figures
    with open(tmp_path / 'out/images.csv') as file:
        rows = list(csv.DictReader(file))
    kinds = [row['set'] for row in rows]
    # Two pairs by three methods; the sharp images of two pairs and of two scenes.
    assert {kind: kinds.count(kind) for kind in kinds} == {'pairs': 6, 'scenes': 2, 'left out': 1, 'sharp': 4}
    ours = [float(row['psnr_after']) for row in rows if (row['set'], row['method']) == ('pairs', 'DeepRFTv2')]
    assert re.search(rf'\| DeepRFTv2 +\| +{np.mean(ours):.2f} \| 0\.\d{{4}} \|', figures)
    pictures = sorted(path.name for path in (tmp_path / 'out/pictures').iterdir())
    assert pictures == [f'{kind}-{rank}.jpg' for kind in ('pairs', 'scenes') for rank in ('best', 'median', 'worst')]
    assert cv2.imread(str(tmp_path / 'out/pictures/pairs-best.jpg')).shape == (48, 3 * 48 + 2 * 8, 3)


def test_fixed_pairs_of_prepare_photos(tmp_path, photograph):
    save(tmp_path / 'val/sharp/x.png', photograph[:64, :64])
    save(tmp_path / 'val/blur/x.png', photograph[1:65, :64])
    (pair,) = load_pairs(tmp_path / 'val', 256, 1)
    np.testing.assert_array_equal(pair.sharp, photograph[:64, :64])
    np.testing.assert_array_equal(pair.blurred, photograph[1:65, :64])


def test_mistakes(tmp_path, sharp_folder, tiny_weights, monkeypatch, photograph):
    monkeypatch.chdir(tmp_path)

    def complaint(*arguments: str) -> str:
        with pytest.raises(UserError) as error:
            evaluate_photos.main([*arguments, '--device', 'cpu'])
        assert '\n' not in str(error.value)
        return str(error.value)

    folder = str(sharp_folder)
    assert 'nothing to measure on' in complaint()
    assert complaint('--sharp', 'nowhere') == 'There is no folder nowhere.'
    assert 'Lower --crop' in complaint('--sharp', folder)
    assert '--crop starts at 16' in complaint('--sharp', folder, '--crop', '3')
    assert 'has no pairs' in complaint('--pairs', folder)
    (tmp_path / 'empty').mkdir()
    assert 'has no images' in complaint('--sharp', 'empty')
    assert 'There is no checkpoint none.pth' in complaint('--sharp', folder, '--crop', '48', '--weights', 'none.pth')
    save(tmp_path / 'two/blur/x.png', photograph)
    save(tmp_path / 'two/sharp/y.png', photograph)
    assert 'has no partner of that name' in complaint('--pairs', 'two')
    torch.manual_seed(0)
    options = {'upscale': 2, 'width': 8, 'depths': [1], 'heads': 2, 'window': 4, 'tokens': 5, 'code_channels': 3}
    save_network_file(tmp_path / 'sr.safetensors', 'ATD', options, ATD(**options).state_dict())
    assert 'enlarges by 2' in complaint('--sharp', folder, '--crop', '48', '--weights', 'sr.safetensors')
