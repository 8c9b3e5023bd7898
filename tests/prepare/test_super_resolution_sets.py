"""Sub-images of DIV2K and DF2K, and the five test sets from every layout in which they go round."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from prepare.miniatures import (
    BENCHMARK,
    build_benchmark,
    build_df2k,
    build_div2k,
    high_resolution,
    reduced,
    save,
)

from deeprftv2_arch.cli.check_data import check
from deeprftv2_arch.prepare.bicubic import downsample
from deeprftv2_arch.prepare.crops import windows
from deeprftv2_arch.prepare.sub_images import SIZE, STEP
from deeprftv2_arch.utils.errors import UserError

pytestmark = pytest.mark.usefixtures('small_sets')
CORNERS = [(top, left) for top in (0, 12) for left in (0, 240, 264)]
"""Of the windows in the miniatures of 744x492 pixels."""


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_sub_images_of_all_scales_show_the_same_places(prepare, contents, tmp_path):
    source = build_div2k(tmp_path / 'DIV2K')
    before = contents(source)
    out = prepare('div2k', source, '--lmdb', '--workers', '2')
    assert contents(source) == before
    for stem in ('0001', '0002'):
        hr = read(source / 'DIV2K_train_HR' / f'{stem}.png')
        for number, (top, left) in enumerate(CORNERS, start=1):
            name = f'{stem}_s{number:03}.png'
            np.testing.assert_array_equal(read(out / 'train/HR_sub' / name), hr[top : top + 480, left : left + 480])
            for scale in (2, 3, 4):
                lr = read(source / f'DIV2K_train_LR_bicubic/X{scale}/{stem}x{scale}.png')
                low_top, low_left, side = top // scale, left // scale, 480 // scale
                expected = lr[low_top : low_top + side, low_left : low_left + side]
                np.testing.assert_array_equal(read(out / f'train/LRx{scale}_sub' / name), expected)
    assert len(list((out / 'train' / 'LRx3_sub').iterdir())) == 2 * len(CORNERS)
    assert sorted(path.name for path in out.glob('train/*.lmdb')) == [
        *('HR_sub.lmdb', 'LRx2_sub.lmdb', 'LRx3_sub.lmdb', 'LRx4_sub.lmdb'),
    ]
    assert check('div2k', out, lmdb=True) == []


def test_missing_low_resolution_images_are_made(prepare, tmp_path):
    source = build_df2k(tmp_path / 'DF2K', scales=(2,))
    out = prepare('df2k', source, '--scales', '2', '4')
    names = sorted(path.name for path in (out / 'train' / 'HR_sub').iterdir())
    assert [name for name in names if name.endswith('s001.png')] == [
        *('000001_s001.png', '0001_s001.png', '0002_s001.png'),
    ]
    assert not (out / 'train' / 'LRx3_sub').exists()
    made = downsample(high_resolution(1, (492, 744)), 4)
    np.testing.assert_array_equal(read(out / 'train/LRx4_sub/000001_s006.png'), made[3:123, 66:186])
    given = reduced(high_resolution(1, (492, 744)), 2)
    np.testing.assert_array_equal(read(out / 'train/LRx2_sub/000001_s006.png'), given[6:246, 132:372])
    assert json.loads((out / 'manifest.json').read_text())['layout'] == 'original, LR made for [4]'


def test_sides_that_are_no_multiples_are_cut_alike(prepare, tmp_path):
    source = build_div2k(tmp_path / 'DIV2K', count=2)
    hr = high_resolution(1, (497, 751))
    save(source / 'DIV2K_train_HR/0001.png', hr)
    for scale in (2, 3, 4):
        save(source / f'DIV2K_train_LR_bicubic/X{scale}/0001x{scale}.png', reduced(hr, scale))
    out = prepare('div2k', source)
    last = f'0001_s{len(CORNERS):03}.png'
    np.testing.assert_array_equal(read(out / 'train/HR_sub' / last), hr[12:492, 264:744])
    np.testing.assert_array_equal(read(out / 'train/LRx3_sub' / last), reduced(hr, 3)[4:164, 88:248])


def test_sub_images_are_made_once(prepare, tmp_path, capsys):
    source = build_div2k(tmp_path / 'DIV2K', scales=(2,))
    prepare('div2k', source)
    capsys.readouterr()
    prepare('div2k', source)
    assert 'Files written now: 0, databases: 0.' in capsys.readouterr().out


def basicsr_starts(length: int) -> list[int]:
    """As BasicSR's script for sub-images states them, with its threshold of 0."""
    space = np.arange(0, length - 480 + 1, 240)
    return [*space, length - 480] if length - (space[-1] + 480) > 0 else list(space)


@pytest.mark.parametrize('height', [480, 492, 720, 732, 1356, 1404, 2040])
def test_windows_are_basicsrs(height):
    expected = [(top, left) for top in basicsr_starts(height) for left in basicsr_starts(2040)]
    assert windows(height, 2040, SIZE, STEP) == expected


BROKEN_DIV2K = {
    'no HR': (lambda root: shutil.rmtree(root / 'DIV2K_train_HR'), r'no folder DIV2K_train_HR found'),
    'count': (lambda root: (root / 'DIV2K_train_HR/0002.png').unlink(), r'DIV2K_train_HR: 1 images, where DIV2K has 2'),
    'no partner': (
        lambda root: (root / 'DIV2K_train_LR_bicubic/X3/0001x3.png').unlink(),
        r'X3: has neither 0001x3.png, 0001.png, the partner of .*0001.png',
    ),
    'sizes': (
        lambda root: save(root / 'DIV2K_train_LR_bicubic/X3/0001x3.png', np.zeros((163, 248, 3), np.uint8)),
        r'0001x3.png: 248 x 163 pixels times 3 do not fit .*0001.png of 744 x 492',
    ),
    'small': (
        lambda root: save(root / 'DIV2K_train_HR/0001.png', np.zeros((240, 744, 3), np.uint8)),
        r'DIV2K_train_HR/0001.png: 744 x 240 pixels are smaller than a crop of 480 x 480',
    ),
    'alpha': (
        lambda root: save(root / 'DIV2K_train_HR/0001.png', np.zeros((492, 744, 4), np.uint8)),
        r'0001.png: has an alpha channel',
    ),
    '16 bit': (
        lambda root: save(root / 'DIV2K_train_LR_bicubic/X2/0001x2.png', np.zeros((246, 372, 3), np.uint16)),
        r'0001x2.png: pixels of type uint16, expected 8 bits',
    ),
}


@pytest.mark.parametrize('case', BROKEN_DIV2K)
def test_a_faulty_training_set_is_refused(case, prepare, tmp_path):
    damage, message = BROKEN_DIV2K[case]
    source = build_div2k(tmp_path / 'DIV2K')
    damage(source)
    with pytest.raises(UserError, match=message):
        prepare('div2k', source)


PARTS = ('--parts', *BENCHMARK)
TITLES = {'Set5': 'Set5', 'B100': 'BSD100'}


@pytest.mark.parametrize('layout', ['edsr', 'basicsr', 'rcan', 'selfexsr', 'plain'])
def test_every_layout_of_the_benchmark_becomes_the_same(layout, prepare, contents, tmp_path):
    source = build_benchmark(tmp_path / 'source', layout)
    before = contents(source)
    out = prepare('srbench', source, *PARTS)
    assert contents(source) == before
    for folder, names in BENCHMARK.values():
        for index, name in enumerate(names):
            image = high_resolution(10 * len(folder) + index, (50, 65))
            stem = f'img_{index + 1:03}' if layout == 'selfexsr' else name
            for scale in (2, 3, 4):
                height, width = (48, 60) if layout == 'basicsr' else (50 - 50 % scale, 65 - 65 % scale)
                gt = image[:height, :width]
                low = downsample(gt, scale) if layout == 'plain' else reduced(gt, scale)
                np.testing.assert_array_equal(read(out / TITLES[folder] / f'HR/x{scale}/{stem}.png'), gt)
                np.testing.assert_array_equal(read(out / TITLES[folder] / f'LR/x{scale}/{stem}.png'), low)
    assert check('srbench', out) == []
    assert check('set5', out / 'Set5') == []
    manifest = json.loads((out / 'manifest.json').read_text())
    assert manifest['counts'] == {name: {'found': 2, 'expected': 2} for name in BENCHMARK}


def test_given_low_resolution_images_win_over_made_ones(prepare, tmp_path):
    source = build_benchmark(tmp_path / 'source', 'plain')
    out = prepare('srbench', source, *PARTS, '--scales', '2')
    made = read(out / 'Set5/LR/x2/baby.png')
    shutil.rmtree(source)
    prepare('srbench', build_benchmark(tmp_path / 'source', 'edsr'), *PARTS, '--scales', '2')
    assert (read(out / 'Set5/LR/x2/baby.png') != made).any()


def test_gray_images_get_three_channels(prepare, tmp_path):
    source = build_benchmark(tmp_path / 'source', 'edsr')
    for path in [source / 'Set5/HR/baby.png', *source.glob('Set5/LR_bicubic/*/baby*')]:
        save(path, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    out = prepare('srbench', source, '--parts', 'set5')
    for kind in ('HR', 'LR'):
        assert read(out / f'Set5/{kind}/x4/baby.png').ndim == 3


BROKEN_BENCHMARK = {
    'set missing': ('edsr', lambda root: shutil.rmtree(root / 'B100'), r'BSD100 not found\. Looked for .*B100'),
    'count': ('plain', lambda root: (root / 'Set5/baby.png').unlink(), r'found 1 in set5, where there should be 2'),
    'no partner': (
        'basicsr',
        lambda root: (root / 'Set5/LRbicx3/baby.png').unlink(),
        r'Set5 x3: 1 images have no partner .*GTmod12/baby.png',
    ),
    'strange name': (
        'edsr',
        lambda root: (root / 'Set5/LR_bicubic/X2/babyx2.png').rename(root / 'Set5/LR_bicubic/X2/baby-half.png'),
        r'2 images have no partner.*Names may be NAME, NAMEx2',
    ),
    'other scale': (
        'edsr',
        lambda root: shutil.copy(root / 'Set5/LR_bicubic/X4/babyx4.png', root / 'Set5/LR_bicubic/X2/babyx2.png'),
        r'babyx2.png: 16 x 12 pixels times 2 do not fit .*baby.png, of which 64 x 50 can be used',
    ),
}


@pytest.mark.parametrize('case', BROKEN_BENCHMARK)
def test_a_faulty_benchmark_is_refused(case, prepare, tmp_path):
    layout, damage, message = BROKEN_BENCHMARK[case]
    source = build_benchmark(tmp_path / 'source', layout)
    damage(source)
    with pytest.raises(UserError, match=rf'(?s){message}'):
        prepare('srbench', source, *PARTS)
