"""SynthesizedBlurDataset: nothing but seed and iteration decides, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset

from deeprftv2_arch.data import SynthesizedBlurDataset
from deeprftv2_arch.data.loading import build_training_loader
from deeprftv2_arch.data.sampling import Sample
from deeprftv2_arch.utils.errors import UserError

COUNT = 5


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Five photographs, one of them in a sub-folder."""
    folder = tmp_path / 'photographs'
    (folder / 'more').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        picture = cv2.resize(rng.integers(0, 256, (20, 24, 3), np.uint8), (120, 100), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / ('more' if number == 3 else '.') / f'{number}.png'), picture)
    return folder


def options(folder: Path, **more) -> dict:
    common = {'name': 'Test', 'type': 'SynthesizedBlurDataset', 'phase': 'train', 'dataroot_gt': str(folder)}
    return {**common, 'gt_size': 32, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0, **more}


def batches(folder: Path, done: int = 0, processes: int = 1, rank: int = 0, **more) -> list[dict]:
    """All batches of a training of 9 iterations of 4 images, from one iteration on."""
    data = options(folder, batch_size_per_gpu=4 // processes, dataset_enlarge_ratio=100, **more)
    dataset = build_dataset(data)
    training = {
        'manual_seed': 3,
        'train': {'total_iter': 9},
        'datasets': {'train': data},
        'rank': rank,
        'world_size': processes,
        'dist': processes > 1,
        'num_gpu': 0,
    }
    loader, _ = build_training_loader(dataset, training, done)
    return list(loader)


def assert_same(one: list[dict], other: list[dict]) -> None:
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        assert left['lq_path'] == right['lq_path']
        assert torch.equal(left['lq'], right['lq'])
        assert torch.equal(left['gt'], right['gt'])


def test_a_pair_is_a_function_of_its_seed_alone(photographs):
    first, second = (SynthesizedBlurDataset(options(photographs, cache_mb=mb)) for mb in (0, 100))
    second[Sample(2, None, 8)]
    np.random.default_rng().standard_normal()
    torch.rand(3)
    one, other = first[Sample(1, None, 7)], second[Sample(1, None, 7)]
    assert torch.equal(one['lq'], other['lq'])
    assert torch.equal(one['gt'], other['gt'])
    assert not torch.equal(one['lq'], first[Sample(1, None, 8)]['lq'])
    assert one['lq'].dtype == one['gt'].dtype == torch.float32
    assert one['lq'].shape == one['gt'].shape == (3, 32, 32)
    assert min(one['lq'].min(), one['gt'].min()) >= 0
    assert max(one['lq'].max(), one['gt'].max()) <= 1
    assert torch.equal(one['lq'].mul(255).round() / 255, one['lq'])


def test_workers_change_nothing(photographs):
    assert_same(batches(photographs), batches(photographs, num_worker_per_gpu=2))


def test_a_resumed_training_goes_on_with_the_same_data(photographs):
    assert_same(batches(photographs)[5:], batches(photographs, done=5))


def test_processes_share_the_batches_of_one(photographs):
    whole = batches(photographs)
    for rank in range(2):
        shares = batches(photographs, processes=2, rank=rank)
        for batch, share in zip(whole, shares, strict=True):
            assert torch.equal(batch['lq'][rank::2], share['lq'])


def test_stages_bring_their_crop(photographs):
    dataset = SynthesizedBlurDataset(options(photographs))
    assert dataset[Sample(0, (24, 40), 1)]['gt'].shape == (3, 24, 40)


def test_validation_gives_the_same_pairs_each_time(photographs):
    dataset = SynthesizedBlurDataset(options(photographs, phase='val'))
    assert len(dataset) == COUNT
    assert dataset.names == ['0.png', '1.png', '2.png', '4.png', 'more/3.png']
    assert torch.equal(dataset[4]['lq'], dataset[4]['lq'])
    assert not torch.equal(dataset[3]['lq'], dataset[4]['lq'])


def test_the_true_kernel_can_be_asked_for(photographs):
    shares = {'share_rotation': 0, 'share_layers': 0, 'jpeg_share': 0, 'noise_gain': [0, 0]}
    dataset = SynthesizedBlurDataset(
        options(photographs, return_kernel=True, **shares, read_noise=[0, 0], highlight_gain=[1, 1])
    )
    for seed in range(5):
        pair = dataset[Sample(seed, None, seed)]
        kernel = pair['kernel'][None, None]
        assert kernel.shape[2:] == (2 * dataset.options.margin + 1,) * 2
        light = torch.where(pair['gt'] <= 0.04045, pair['gt'] / 12.92, ((pair['gt'] + 0.055) / 1.055) ** 2.4)
        radius = 8
        inner = kernel[..., 16 - radius : 17 + radius, 16 - radius : 17 + radius]
        assert inner.sum() == pytest.approx(1, abs=1e-5)
        blurred = torch.nn.functional.conv2d(light[:, None], inner.flip(2, 3))[:, 0]
        blurred = torch.where(blurred <= 0.0031308, 12.92 * blurred, 1.055 * blurred ** (1 / 2.4) - 0.055)
        found = pair['lq'][:, radius:-radius, radius:-radius]
        assert (found - blurred).abs().max() < 0.6 / 255


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        (
            {'shake_extend': [1, 2]},
            r"datasets\.train \(Test\)\.shake_extend: unknown key for \w+ \(did you mean 'shake_extent'",
        ),
        ({'shake_extent': 3}, r'datasets\.train \(Test\)\.shake_extent: expected a list of 2, got 3'),
        ({'shake_extent': [5, 2]}, 'shake_extent: the range .5, 2. ends before it begins'),
        ({'jpeg_share': -1}, 'jpeg_share: expected a number of at least 0 and at most 1, got -1'),
        ({'gt_size': 0}, 'gt_size: expected'),
        ({'poses': 0}, 'poses: expected a whole number of at least 1, got 0'),
        ({'scale': 2}, 'scale: expected 1 or ~, got 2'),
        (
            {f'share_{kind}': 0 for kind in ('shake', 'rotation', 'defocus', 'layers', 'sharp')},
            r'share_\*: all are 0',
        ),
        ({'noise_gain': [0, 1]}, r'noise_gain: a range of logarithms cannot begin at 0'),
        ({'scale': 1, 'jpeg_quality': [90, 101]}, 'jpeg_quality: must be at most 100'),
        ({'focal_length': [0, 1]}, 'focal_length: must be at least 1'),
    ],
)
def test_wrong_options_are_named(photographs, wrong, named):
    with pytest.raises(UserError, match=named):
        SynthesizedBlurDataset(options(photographs, **wrong))


def test_folders_without_photographs_are_named(tmp_path):
    with pytest.raises(UserError, match=r'dataroot_gt: there is no folder .*nowhere'):
        SynthesizedBlurDataset(options(tmp_path / 'nowhere'))
    (tmp_path / 'notes.txt').write_text('none')
    with pytest.raises(UserError, match=r'dataroot_gt: .* hold no images'):
        SynthesizedBlurDataset(options(tmp_path))


def test_unreadable_and_small_photographs_are_named(photographs):
    (photographs / '0.jpg').write_text('not a photograph')
    cv2.imwrite(str(photographs / 'small.png'), np.zeros((40, 40, 3), np.uint8))
    dataset = SynthesizedBlurDataset(options(photographs))
    with pytest.raises(UserError, match=r'0\.jpg: .*cannot decode'):
        dataset[Sample(0, None, 0)]
    with pytest.raises(UserError, match=r'small\.png: 40 x 40 pixels are too few: .* need 64 x 64'):
        dataset[Sample(6, None, 0)]


def test_photographs_are_reduced_to_the_long_side(photographs):
    dataset = SynthesizedBlurDataset(options(photographs, long_side=90))
    assert dataset.photographs.read(0).shape == (75, 90, 3)
