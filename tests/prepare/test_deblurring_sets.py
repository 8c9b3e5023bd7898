"""Every deblurring set, from each of its layouts to the folders of the option files."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest
from basicsr.data.data_util import paired_paths_from_lmdb
from prepare.miniatures import (
    GOPRO,
    build_dpdd_flat,
    build_dpdd_original,
    build_gopro_flat,
    build_gopro_original,
    build_hide_flat,
    build_hide_original,
    build_realblur_flat,
    build_realblur_original,
    build_reds_flat,
    build_reds_original,
    frame,
    save,
)

from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.data.paired_deblur_dataset import PairedDeblurDataset
from deeprftv2_arch.prepare.deblurring import SETS

LAYOUTS = {
    'gopro': (build_gopro_original, build_gopro_flat),
    'hide': (build_hide_original, build_hide_flat),
    'realblur_j': (build_realblur_original, build_realblur_flat),
    'reds': (build_reds_original, build_reds_flat),
}
NAMES = {
    'gopro': {
        'train': [f'{sequence}-{number:06}' for sequence in GOPRO['train'] for number in (47, 48, 49)],
        'test': [f'GOPR0384_11_00-{number:06}' for number in (47, 48, 49)],
    },
    'hide': {'test': ['12fromGOPR0950', '1fromGOPR0950', '7fromGOPR1089']},
    'realblur_j': {
        'train': [f'scene{scene}_{number}' for scene in ('001', '002') for number in (1, 2, 3)],
        'test': [f'scene230_{number}' for number in (1, 2, 3)],
    },
    'reds': {
        'train': [f'{clip:03}_{index:08}' for clip in (0, 1) for index in range(20)],
        'val': ['000_00000009', '000_00000019', '001_00000009', '001_00000019'],
    },
}


def dataset(root, part: str, kind: str = 'disk') -> PairedDeblurDataset:
    suffix = '.lmdb' if kind == 'lmdb' else ''
    roots = {'dataroot_gt': f'{root}/{part}/sharp{suffix}', 'dataroot_lq': f'{root}/{part}/blur{suffix}'}
    return PairedDeblurDataset({'name': 'mini', 'phase': 'val', 'io_backend': {'type': kind}, **roots})


def images(folder) -> dict[str, np.ndarray]:
    return {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())}


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('name', LAYOUTS)
def test_both_layouts_give_the_same_folders(name, prepare, contents, tmp_path):
    made = []
    for number, build in enumerate(LAYOUTS[name]):
        source = build(tmp_path / f'source{number}')
        before = contents(source)
        made.append(prepare(name, source, out=f'out{number}'))
        assert contents(source) == before
    for part, names in NAMES[name].items():
        for role in ('blur', 'sharp'):
            original, flat = (images(out / part / role) for out in made)
            assert list(original) == list(flat) == names
            for stem in names:
                np.testing.assert_array_equal(original[stem], flat[stem])
    assert [json.loads((out / 'manifest.json').read_text())['layout'] for out in made] == ['original', 'flat']


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('name', LAYOUTS)
def test_pairs_are_blurred_and_sharp_images_of_one_moment(name, prepare, tmp_path):
    out = prepare(name, LAYOUTS[name][0](tmp_path / 'source'))
    for part in NAMES[name]:
        blur, sharp = images(out / part / 'blur'), images(out / part / 'sharp')
        for stem in sharp:
            # The sharp image is the middle of the way that the blurred one is the mean of.
            own = np.abs(blur[stem].astype(int) - sharp[stem]).mean()
            others = [
                np.abs(blur[stem].astype(int) - other).mean()
                for name, other in sharp.items()
                if name != stem and other.shape == sharp[stem].shape
            ]
            assert not others or own < min(others)


@pytest.mark.usefixtures('small_sets')
def test_gopro_takes_blur_and_not_gamma(prepare, tmp_path):
    out = prepare('gopro', build_gopro_original(tmp_path / 'source'))
    blur, _ = frame(500, 0)
    np.testing.assert_array_equal(images(out / 'train' / 'blur')['GOPR0372_07_00-000047'], blur)


@pytest.mark.usefixtures('small_sets')
def test_copies_are_bytes_of_the_download_and_reds_stays_jpeg(prepare, tmp_path):
    source = build_reds_original(tmp_path / 'source')
    out = prepare('reds', source, '--lmdb')
    frame_9 = 'val/val_blur_jpeg/001/00000009.jpg'
    assert (out / 'val/blur/001_00000009.jpg').read_bytes() == (source / frame_9).read_bytes()
    assert {path.suffix for path in (out / 'train' / 'blur').iterdir()} == {'.jpg'}
    assert {path.suffix for path in (out / 'train' / 'sharp').iterdir()} == {'.png'}


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('name', ['gopro', 'reds'])
def test_databases_hold_what_the_folders_hold(name, prepare, tmp_path):
    out = prepare(name, LAYOUTS[name][0](tmp_path / 'source'), '--lmdb', '--workers', '2')
    part = 'train'
    folder, database = dataset(out, part), dataset(out, part, 'lmdb')
    assert len(folder) == len(database) == len(NAMES[name][part])
    for from_folder, from_database in zip(folder, database, strict=True):
        assert from_folder['lq'].equal(from_database['lq'])
        assert from_folder['gt'].equal(from_database['gt'])
    roots = [str(out / part / role) + '.lmdb' for role in ('blur', 'sharp')]
    theirs = paired_paths_from_lmdb(roots, ['lq', 'gt'])
    assert sorted(pair['gt_path'] for pair in theirs) == NAMES[name][part]


@pytest.mark.usefixtures('small_sets')
def test_the_manifest_says_what_is_there(prepare, tmp_path):
    out = prepare('realblur_j', build_realblur_original(tmp_path / 'source'), '--lmdb')
    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['complete']
    assert manifest['counts'] == {'train': {'found': 6, 'expected': 6}, 'test': {'found': 3, 'expected': 3}}
    assert manifest['lmdb'] == ['test/blur.lmdb', 'test/sharp.lmdb', 'train/blur.lmdb', 'train/sharp.lmdb']
    described = manifest['folders']['test/sharp']
    assert described['images'] == 3
    assert sum(described['sizes'].values()) == 3
    assert len(described['sizes']) == 3
    assert described['bytes'] == sum(path.stat().st_size for path in (out / 'test' / 'sharp').iterdir())
    listed = os.popen(f'cd {out}/test/sharp && ls | LC_ALL=C sort | sha256sum').read().split()[0]
    assert described['list_sha256'] == listed


@pytest.mark.usefixtures('small_sets')
def test_parts_one_after_the_other_make_one_manifest(prepare, tmp_path):
    source = build_gopro_flat(tmp_path / 'source')
    out = prepare('gopro', source, '--parts', 'test')
    assert not (out / 'train').exists()
    prepare('gopro', source, '--parts', 'train')
    manifest = json.loads((out / 'manifest.json').read_text())
    assert sorted(manifest['counts']) == ['test', 'train']
    assert sorted(manifest['folders']) == ['test/blur', 'test/sharp', 'train/blur', 'train/sharp']


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('kind', ['symbolic', 'hard'])
def test_links_take_no_room(kind, prepare, contents, tmp_path):
    source = build_hide_original(tmp_path / 'source')
    before = contents(source)
    out = prepare('hide', source, '--link', kind)
    for path in (out / 'test' / 'sharp').iterdir():
        assert path.samefile(source / 'HIDE_dataset' / 'GT' / path.name)
        assert path.is_symlink() == (kind == 'symbolic')
    assert contents(source) == before
    prepare('hide', source)
    assert not any(path.samefile(source / 'HIDE_dataset/GT' / path.name) for path in (out / 'test/sharp').iterdir())
    assert contents(source) == before


@pytest.mark.usefixtures('small_sets')
def test_lists_of_realblur_may_lie_elsewhere(prepare, tmp_path):
    source = build_realblur_original(tmp_path / 'source', 'R')
    (tmp_path / 'lists').mkdir()
    for file in source.glob('*.txt'):
        file.rename(tmp_path / 'lists' / file.name)
    out = prepare('realblur_r', source, '--lists', str(tmp_path / 'lists'))
    assert sorted(images(out / 'test' / 'blur')) == NAMES['realblur_j']['test']


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('build', [build_dpdd_original, build_dpdd_flat])
def test_dpdd_becomes_what_opencv_reads_by_default(build, prepare, tmp_path):
    source = build(tmp_path / 'source')
    out = prepare('dpdd', source)
    original = source / ('test_c/target' if build is build_dpdd_original else 'test/DPDD/target')
    expected = [cv2.imread(str(path)) for path in sorted(original.iterdir())]
    found = images(out / 'test' / 'sharp')
    assert list(found) == ['1P0A1090', '1P0A1092', '1P0A1094', '1P0A1096']
    for image, other in zip(found.values(), expected, strict=True):
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, other)


@pytest.mark.usefixtures('small_sets')
def test_dpdd_keeps_16_bits_on_request(prepare, tmp_path):
    source = build_dpdd_original(tmp_path / 'source')
    out = prepare('dpdd', source, '--bit-depth', '16', '--lmdb')
    assert (out / 'val/blur/1P0A0990.png').read_bytes() == (source / 'val_c/source/1P0A0990.png').read_bytes()
    assert json.loads((out / 'manifest.json').read_text())['options'] == {'bit_depth': 16}
    assert len(np.unique((dataset(out, 'val', 'lmdb')[0]['gt'] * 65535).round())) > 256


@pytest.mark.usefixtures('small_sets')
def test_a_list_pairs_dpdd_where_names_and_order_cannot(prepare, tmp_path):
    source = build_dpdd_original(tmp_path / 'source')
    lines = []
    for part, start in [('train', 890), ('val', 990), ('test', 1090)]:
        for index in range(4):
            number = start + 2 * index
            renamed = f'{9 - index}_{part}.png'
            (source / f'{part}_c/target/1P0A{number + 1:04}.png').rename(source / f'{part}_c/target/{renamed}')
            lines.append(f'1P0A{number:04}.png {renamed}')
    (tmp_path / 'pairs.txt').write_text('\n'.join(lines))
    out = prepare('dpdd', source, '--pairs', str(tmp_path / 'pairs.txt'))
    expected = cv2.imread(str(source / 'test_c/target/9_test.png'))
    np.testing.assert_array_equal(images(out / 'test' / 'sharp')['1P0A1090'], expected)


@pytest.mark.usefixtures('small_sets')
def test_indoor_scenes_come_from_the_users_lists_alone(prepare, tmp_path):
    source = build_dpdd_flat(tmp_path / 'source')
    out = prepare('dpdd', source)
    assert not (out / 'test' / 'indoor.txt').exists()
    prepare('dpdd', source, '--indoor-list', str(source / 'test/DPDD/indoor_labels.npy'))
    assert (out / 'test/indoor.txt').read_text().split() == ['1P0A1090', '1P0A1094']
    assert (out / 'test/outdoor.txt').read_text().split() == ['1P0A1092', '1P0A1096']
    (tmp_path / 'outdoor.txt').write_text('1P0A1090.png\n1P0A1092\n')
    prepare('dpdd', source, '--outdoor-list', str(tmp_path / 'outdoor.txt'))
    assert (out / 'test/indoor.txt').read_text().split() == ['1P0A1094', '1P0A1096']


def test_gopro_crops_are_the_published_windows(prepare, tmp_path):
    blur, sharp = frame(1, 0, (720, 1280))
    for role, image in [('blur', blur), ('sharp', sharp)]:
        save(tmp_path / 'source' / 'train' / 'SEQ' / role / '000001.png', image)
    out = prepare(
        *('gopro', tmp_path / 'source', '--parts', 'train', '--crops', '--lmdb', '--allow-incomplete'),
    )
    corners = [(top, left) for top in (0, 208) for left in (0, 256, 512, 768)]
    for role, image in [('blur', blur), ('sharp', sharp)]:
        crops = images(out / 'train' / f'{role}_crops')
        assert list(crops) == [f'SEQ-000001_s{number:03}' for number in range(1, 9)]
        for crop, (top, left) in zip(crops.values(), corners, strict=True):
            np.testing.assert_array_equal(crop, image[top : top + 512, left : left + 512])
    assert (out / 'train' / 'sharp_crops.lmdb').is_dir()
    assert not (out / 'train' / 'sharp.lmdb').exists()


def test_the_number_of_crops_is_the_published_one():
    for name in ('gopro', 'dpdd'):
        known = KNOWN_SETS[name]
        assert SETS[name].crops.count(*known.size) * known.images['train'] == known.train_crops
