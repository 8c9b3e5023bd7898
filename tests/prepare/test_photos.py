"""Photographs of one's own, from a folder to a set that can be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprftv2_arch.data import PairedDeblurDataset, SynthesizedBlurDataset
from deeprftv2_arch.prepare import photo_scenes
from deeprftv2_arch.prepare.photo_quality import sharp_share
from deeprftv2_arch.utils.errors import UserError


def picture(seed: int, height: int = 400, width: int = 500) -> np.ndarray:
    """Noise whose octaves are equally strong, as in photographs."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 14, (-(-height // side), -(-width // side), 3)), (width, height))
        for side in (1, 2, 4, 8, 16, 64, 200)
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve usable photographs, and one each of what is left out."""
    folder = tmp_path / 'pictures'
    (folder / 'trip').mkdir(parents=True)
    for number in range(12):
        name = f'trip/{number}' if number % 2 else f'scene {"abcdefghijkl"[number]}'
        cv2.imwrite(str(folder / f'{name}.png'), picture(number))
    cv2.imwrite(str(folder / 'small.png'), picture(20, 200, 500))
    cv2.imwrite(str(folder / 'soft.png'), cv2.GaussianBlur(picture(21), (0, 0), 3))
    cv2.imwrite(str(folder / 'twin.jpg'), picture(0), [cv2.IMWRITE_JPEG_QUALITY, 90])
    (folder / 'broken.jpg').write_bytes((folder / 'twin.jpg').read_bytes()[:5000])
    (folder / 'notes.txt').write_text('no photograph')
    return folder


def test_photographs_become_a_set(source, prepare, contents, capsys):
    before = contents(source)
    out = prepare('photos', source)
    assert contents(source) == before
    manifest = json.loads((out / 'manifest.json').read_text())
    reasons = {entry['image']: entry['reason'] for entry in manifest['left_out']}
    assert set(reasons) == {'train/small.png', 'train/soft.png', 'train/twin.jpg', 'train/broken.jpg'}
    assert 'too small: 500 x 200' in reasons['train/small.png']
    assert 'too soft' in reasons['train/soft.png']
    assert reasons['train/twin.jpg'] == 'nearly the same as scene a.png'
    assert 'truncated' in reasons['train/broken.jpg']
    assert 'Left out train/soft.png: too soft' in capsys.readouterr().out
    train = sorted(path.name for path in (out / 'train').iterdir())
    validation = sorted(path.stem for path in (out / 'val' / 'sharp').iterdir())
    assert len(train) + len(validation) == 12
    assert len(validation) == 1
    assert not {Path(name).stem for name in train} & set(validation)
    assert all(name.startswith(('scene', 'trip-')) for name in train)


def test_the_set_is_what_the_option_file_reads(source, prepare):
    out = prepare('photos', source)
    options = {'name': 'photos', 'dataroot_gt': str(out / 'train'), 'phase': 'train', 'gt_size': 64}
    dataset = SynthesizedBlurDataset({'type': 'SynthesizedBlurDataset', **options})
    assert dataset[0]['lq'].shape == (3, 64, 64)
    roots = {'dataroot_gt': str(out / 'val/sharp'), 'dataroot_lq': str(out / 'val/blur')}
    pairs = PairedDeblurDataset({'name': 'val', 'type': 'PairedDeblurDataset', 'phase': 'val', **roots})
    assert pairs[0]['lq'].shape == pairs[0]['gt'].shape == (3, 256, 256)
    assert not np.array_equal(pairs[0]['lq'], pairs[0]['gt'])


def test_kernels_are_those_of_the_pairs(source, prepare):
    out = prepare('photos', source)
    for file in (out / 'val' / 'kernels').iterdir():
        kernel = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(float)
        kernel /= kernel.sum()
        y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]]
        assert kernel.shape[0] % 2 == 1
        assert abs((kernel * y).sum() - kernel.shape[0] // 2) < 1e-3
        assert abs((kernel * x).sum() - kernel.shape[0] // 2) < 1e-3


def test_large_photographs_are_reduced(tmp_path, prepare):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for number in range(3):
        large = cv2.resize(picture(number + 5, 1400, 1800), (3000, 2333), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f'{"xyz"[number]}.jpg'), large)
    out = prepare('photos', folder)
    sizes = json.loads((out / 'manifest.json').read_text())['folders']['train']['sizes']
    assert set(sizes) == {'1152x896'}


def test_a_second_run_writes_nothing_and_a_changed_photograph_is_made_again(source, prepare, contents, capsys):
    out = prepare('photos', source)
    first = contents(out)
    prepare('photos', source)
    assert {name: entry for name, entry in contents(out).items() if name != 'manifest.json'} == {
        name: entry for name, entry in first.items() if name != 'manifest.json'
    }
    assert 'Files written now: 0' in capsys.readouterr().out
    (out / 'train' / 'trip-3.jpg').unlink(missing_ok=True)
    (out / 'val' / 'sharp' / 'trip-3.png').unlink(missing_ok=True)
    prepare('photos', source)
    assert contents(out).keys() == first.keys()
    assert all(contents(out)[name][0] == entry[0] for name, entry in first.items() if name != 'manifest.json')


@pytest.mark.parametrize('options', [('--crops',), ('--lmdb',), ('--parts', 'train')])
def test_options_of_other_sets_are_refused(source, prepare, options):
    with pytest.raises(UserError, match=rf'{options[0]}: photos has no use for it'):
        prepare('photos', source, *options)


def test_a_folder_without_usable_photographs_is_named(tmp_path, prepare):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    with pytest.raises(UserError, match=r'pictures: neither the folder nor its sub-folders hold any images'):
        prepare('photos', folder)
    cv2.imwrite(str(folder / 'small.png'), picture(0, 40, 40))
    with pytest.raises(UserError, match=r'0 of 1 photographs can be used.*small\.png: too small'):
        prepare('photos', folder)


def test_names_that_collide_are_named(source, prepare):
    (source / 'a').mkdir()
    cv2.imwrite(str(source / 'a' / 'b.png'), picture(30))
    cv2.imwrite(str(source / 'a-b.png'), picture(31))
    with pytest.raises(UserError, match=r'would both become a-b'):
        prepare('photos', source)


def test_photographs_of_one_scene_stay_together():
    names = ['IMG_0001.jpg', 'IMG_0002.jpg', 'IMG_0009.jpg', 'trip/IMG_0003.jpg', 'x.jpg', 'y.jpg']
    thumbnails = np.eye(6, dtype=np.float32)
    thumbnails[5] = thumbnails[4] * 0.95 + thumbnails[5] * np.sqrt(1 - 0.95**2)
    groups = photo_scenes.group_scenes(names, list(thumbnails))
    assert sorted(map(sorted, groups)) == [[0, 1], [2], [3], [4, 5]]
    for count in (2, 10, 100, 1000):
        many = [f'{"abc"[index % 3]}{index * 10}' for index in range(count)]
        chosen = photo_scenes.choose_validation(many, [[index] for index in range(count)])
        assert len(chosen) == min(max(round(0.08 * count), 1), 40)
    pairs = [[index, index + 1] for index in range(0, 100, 2)]
    chosen = photo_scenes.choose_validation([str(index) for index in range(100)], pairs)
    assert all((first in chosen) == (second in chosen) for first, second in pairs)


def test_blur_takes_the_sharp_share():
    image = picture(0)
    shares = [sharp_share(image), *(sharp_share(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (0.6, 2))]
    assert shares[0] > 0.9
    assert shares[0] >= shares[1] > shares[2] == 0
