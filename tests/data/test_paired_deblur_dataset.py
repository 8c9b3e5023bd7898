"""PairedDeblurDataset against BasicSR's own data set, and its errors as a training would meet them."""

from __future__ import annotations

import traceback
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset

from deeprftv2_arch.data import PairedDeblurDataset
from deeprftv2_arch.data.augmentation import random_crop, random_symmetry
from deeprftv2_arch.data.sampling import Sample
from deeprftv2_arch.utils.errors import UserError

ABSENT = object()


def options(folders, phase: str = 'train', **others) -> dict:
    common = {
        'name': 'Test',
        'type': 'PairedDeblurDataset',
        'phase': phase,
        'dataroot_gt': str(folders.gt),
        'dataroot_lq': str(folders.lq),
        'io_backend': {'type': 'disk'},
    }
    training = {'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0}
    made = {**common, **(training if phase == 'train' else {}), **others}
    return {key: value for key, value in made.items() if value is not ABSENT}


def as_databases(folders, as_lmdb):
    return folders._replace(lq=as_lmdb(folders.lq), gt=as_lmdb(folders.gt))


def test_validation_equals_basicsr(write_pairs):
    opt = options(write_pairs(count=3), 'val')
    ours = build_dataset(opt)
    theirs = PairedImageDataset({**opt, 'scale': 1})
    assert len(ours) == len(theirs) == 3
    expected = {Path(item['gt_path']).name: item for item in theirs}
    for item in ours:
        other = expected[Path(item['gt_path']).name]
        assert item.keys() == other.keys()
        assert item['lq_path'] == other['lq_path']
        for key in ('lq', 'gt'):
            assert item[key].dtype == torch.float32
            assert torch.equal(item[key], other[key])


def test_lmdb_gives_the_images_of_the_folder(write_pairs, as_lmdb):
    folders = write_pairs()
    from_disk = PairedDeblurDataset(options(folders, 'val'))
    databases = as_databases(folders, as_lmdb)
    from_lmdb = PairedDeblurDataset(options(databases, 'val', io_backend={'type': 'lmdb'}))
    for one, other in zip(from_disk, from_lmdb, strict=True):
        assert torch.equal(one['lq'], other['lq'])
        assert torch.equal(one['gt'], other['gt'])
        assert other['lq_path'] == Path(one['lq_path']).stem


def test_every_crop_inside_the_image_is_drawn_alike_for_the_pair(write_pairs):
    folders = write_pairs(count=1)
    for file in folders.lq.iterdir():
        (folders.gt / file.name).write_bytes(file.read_bytes())
    dataset = PairedDeblurDataset(options(folders, gt_size=38, use_hflip=False, use_rot=False))
    image = PairedDeblurDataset(options(folders, 'val'))[0]['lq']
    places = image.unfold(1, 38, 1).unfold(2, 38, 1).flatten(1, 2).unbind(1)
    assert len(places) == 3 * 11
    torch.manual_seed(0)
    seen = set()
    for _ in range(1000):
        item = dataset[0]
        assert torch.equal(item['lq'], item['gt'])
        seen.add(item['lq'].numpy().tobytes())
    assert seen == {place.contiguous().numpy().tobytes() for place in places}


def test_crops_of_two_scales_show_the_same_place():
    gt = np.arange(24 * 18, dtype=np.uint16).reshape(24, 18, 1)
    lq = gt[::3, ::3]
    torch.manual_seed(0)
    corners = set()
    for _ in range(200):
        small, large = random_crop(lq, gt, (12, 6), scale=3)
        assert (small.shape, large.shape) == ((4, 2, 1), (12, 6, 1))
        np.testing.assert_array_equal(small, large[::3, ::3])
        corners.add(int(large[0, 0, 0]))
    assert len(corners) == 5 * 5


MODES = [
    ({}, 8),
    ({'use_hflip': False}, 4),
    ({'use_rot': False}, 2),
    ({'use_hflip': False, 'use_rot': False}, 1),
    ({'augmentation': 8}, 8),
    ({'augmentation': 4}, 4),
    ({'augmentation': 0}, 1),
]


@pytest.mark.parametrize(('keys', 'modes'), MODES, ids=[str(keys) for keys, _ in MODES])
def test_symmetries_are_equally_likely_and_agree_in_the_pair(write_pairs, keys, modes):
    keys = {'use_hflip': ABSENT, 'use_rot': ABSENT, **keys}
    dataset = PairedDeblurDataset(options(write_pairs(count=1), **keys))
    torch.manual_seed(0)
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
    symmetries = {np.rot90(view, turns).tobytes() for view in (image, image[::-1]) for turns in range(4)}
    counts: dict[bytes, int] = {}
    for _ in range(800):
        one, other = random_symmetry(image, image.copy(), dataset.symmetries)
        np.testing.assert_array_equal(one, other)
        counts[one.tobytes()] = counts.get(one.tobytes(), 0) + 1
    assert counts.keys() <= symmetries
    assert len(counts) == modes
    # Five standard deviations of a binomial count around its mean.
    mean = 800 / modes
    assert all(abs(count - mean) <= 5 * (mean * (1 - 1 / modes)) ** 0.5 for count in counts.values())


def test_four_modes_are_those_of_the_released_training(write_pairs):
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    upset, turned = image[::-1], np.rot90(image, 2)
    released = {view.tobytes() for view in (image, upset, turned, turned[::-1])}
    opt = options(write_pairs(count=1), use_hflip=ABSENT, use_rot=ABSENT, augmentation=4)
    symmetries = PairedDeblurDataset(opt).symmetries
    torch.manual_seed(0)
    views = [random_symmetry(image, image, symmetries)[0] for _ in range(100)]
    assert {view.shape for view in views} == {image.shape}
    assert {view.tobytes() for view in views} == released


class TestSamples:
    """Samples that bring their own random numbers and crop size."""

    def test_the_seed_alone_decides(self, write_pairs):
        dataset = PairedDeblurDataset(options(write_pairs()))
        torch.manual_seed(0)
        one = dataset[Sample(1, None, 5)]
        torch.manual_seed(1)
        torch.rand(3)
        other = dataset[Sample(1, None, 5)]
        assert torch.equal(one['lq'], other['lq'])
        assert torch.equal(one['gt'], other['gt'])
        crops = {dataset[Sample(1, None, seed)]['gt'].numpy().tobytes() for seed in range(20)}
        assert len(crops) > 15

    def test_they_leave_the_generator_of_torch_alone(self, write_pairs):
        dataset = PairedDeblurDataset(options(write_pairs()))
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        dataset[Sample(0, (8, 8), 5)]
        assert torch.equal(torch.rand(3), expected)

    def test_their_crop_size_goes_before_that_of_the_options(self, write_pairs):
        dataset = PairedDeblurDataset(options(write_pairs(), augmentation=4, use_hflip=ABSENT, use_rot=ABSENT))
        assert dataset[Sample(0, (24, 40), 0)]['lq'].shape == (3, 24, 40)
        assert dataset[Sample(0, None, 0)]['lq'].shape == (3, 16, 16)

    def test_without_any_crop_size(self, write_pairs):
        dataset = PairedDeblurDataset(options(write_pairs(), gt_size=ABSENT))
        assert dataset[Sample(0, (8, 8), 0)]['lq'].shape == (3, 8, 8)
        with pytest.raises(UserError, match=r'gt_size is missing.*train\.stages'):
            dataset[0]


def test_names_do_not_depend_on_where_the_data_lie(write_pairs, as_lmdb, tmp_path):
    folders = write_pairs(count=2)
    assert PairedDeblurDataset(options(folders)).names == ['000', '001']
    databases = as_databases(folders, as_lmdb)
    assert PairedDeblurDataset(options(databases, io_backend={'type': 'lmdb'})).names == ['000', '001']
    for root in (f'{tmp_path}/set/', str(tmp_path)):
        listed = tmp_path / 'list.txt'
        inside = 'set/' * (root == str(tmp_path))
        listed.write_text(f'{inside}sharp/001.png {inside}blur/001.png\n')
        names = PairedDeblurDataset(options(folders._replace(lq=root, gt=root), meta_info_file=str(listed))).names
        assert names == [f'{inside}sharp/001']


class TestPadding:
    """``pad_to``, which RealBlur needs: its images are of slightly different sizes."""

    def test_crops_are_cut_from_the_padded_images(self, write_pairs):
        folders = write_pairs(count=1)
        dataset = PairedDeblurDataset(
            options(folders, gt_size=[44, 50], pad_to=[44, 50], use_hflip=ABSENT, use_rot=ABSENT, augmentation=0)
        )
        item, whole = dataset[0], PairedDeblurDataset(options(folders, 'val'))[0]
        for key in ('lq', 'gt'):
            assert torch.equal(item[key], torch.nn.functional.pad(whole[key], (0, 2, 0, 4)))
        assert 'pad' not in item

    def test_validation_pads_the_blurred_image_and_says_by_how_much(self, write_pairs):
        folders = write_pairs(count=2)
        wide = np.zeros((30, 60, 3), np.uint8)
        for folder in folders:
            cv2.imwrite(str(folder / '001.png'), wide)
        padded = PairedDeblurDataset(options(folders, 'val', pad_to=[44, 50]))
        whole = PairedDeblurDataset(options(folders, 'val'))
        assert [item['pad'] for item in padded] == [(4, 2), (14, 0)]
        for item, expected in zip(padded, whole, strict=True):
            bottom, right = item['pad']
            height, width = item['lq'].shape[1:]
            assert torch.equal(item['lq'][:, : height - bottom, : width - right], expected['lq'])
            assert torch.equal(item['gt'], expected['gt'])
            assert item['lq'].count_nonzero() == expected['lq'].count_nonzero()


class TestBitDepth:
    """16-bit files, as those of DPDD."""

    @pytest.fixture
    def deep(self, write_pairs):
        folders = write_pairs(count=2)
        for folder, seed in zip(folders, (0, 1), strict=True):
            for index in range(2):
                image = np.random.default_rng([seed, index]).integers(0, 65536, (40, 48, 3), np.uint16)
                cv2.imwrite(str(folder / f'{index:03}.png'), image)
        return folders

    def test_by_default_they_are_divided_by_their_own_white(self, deep):
        for depth in ({}, {'bit_depth': 16}):
            item = PairedDeblurDataset(options(deep, 'val', **depth))[1]
            for key in ('lq', 'gt'):
                image = cv2.imread(item[f'{key}_path'], cv2.IMREAD_UNCHANGED)[:, :, ::-1]
                np.testing.assert_array_equal(item[key].permute(1, 2, 0), image.astype(np.float32) / np.float32(65535))

    @pytest.mark.parametrize('kind', ['disk', 'lmdb'])
    def test_eight_bits_are_those_of_opencv_and_that_is_said_once(self, deep, kind, as_lmdb, monkeypatch):
        said = []
        monkeypatch.setattr('logging.Logger.info', lambda _, message: said.append(message))
        folders = as_databases(deep, as_lmdb) if kind == 'lmdb' else deep
        dataset = PairedDeblurDataset(options(folders, 'val', bit_depth=8, io_backend={'type': kind}))
        for index in range(2):
            for key, folder in zip(('lq', 'gt'), deep, strict=True):
                image = cv2.imread(str(folder / f'{index:03}.png'))[:, :, ::-1]
                np.testing.assert_array_equal(
                    dataset[index][key].permute(1, 2, 0), image.astype(np.float32) / np.float32(255)
                )
        assert len([line for line in said if 'has 16 bits' in line]) == 1

    def test_other_depths_are_refused_where_sixteen_were_asked_for(self, write_pairs):
        dataset = PairedDeblurDataset(options(write_pairs(), 'val', bit_depth=16))
        with pytest.raises(UserError, match=r'blur/000\.png: expected 16 bits'):
            dataset[0]

    def test_both_images_of_a_pair_have_one_depth(self, deep):
        shallow = cv2.imread(str(deep.lq / '001.png'))
        cv2.imwrite(str(deep.lq / '001.png'), shallow)
        with pytest.raises(UserError, match=r'blur/001\.png is uint8, .*sharp/001\.png is uint16.*bit_depth: 8'):
            PairedDeblurDataset(options(deep, 'val'))[1]
        assert PairedDeblurDataset(options(deep, 'val', bit_depth=8))[1]['lq'].shape == (3, 40, 48)


class TestGamma:
    """GoPro's second set of blurred images, which the published figures are not for."""

    @pytest.fixture(params=['folders', 'sub-folders', 'list', 'lmdb'])
    def opt(self, request, write_pairs, as_lmdb, tmp_path):
        folders = write_pairs('GOPR0384_11_00')
        gamma = folders.lq.rename(folders.lq.with_name('blur_gamma'))
        if request.param == 'folders':
            return options(folders._replace(lq=gamma), 'val')
        if request.param == 'lmdb':
            return options(as_databases(folders._replace(lq=gamma), as_lmdb), 'val', io_backend={'type': 'lmdb'})
        whole = options(folders._replace(lq=tmp_path, gt=tmp_path), 'val')
        if request.param == 'list':
            names = [f'GOPR0384_11_00/{{}}/{index:03}.png' for index in range(4)]
            (tmp_path / 'list.txt').write_text(
                ''.join(f'{name.format("sharp")} {name.format("blur_gamma")}\n' for name in names)
            )
            return {**whole, 'meta_info_file': str(tmp_path / 'list.txt')}
        # The layout of a download, with the same sub-folders below two roots.
        for role, folder in (('sharp', folders.gt), ('blurred', gamma)):
            (tmp_path / role / 'GOPR0384_11_00').mkdir(parents=True)
            folder.rename(tmp_path / role / 'GOPR0384_11_00' / 'blur_gamma')
        roots = {'dataroot_gt': str(tmp_path / 'sharp'), 'dataroot_lq': str(tmp_path / 'blurred')}
        return {**whole, **roots, 'recursive': True}

    def test_is_refused_unless_it_is_asked_for(self, opt):
        with pytest.raises(UserError, match=r'dataroot_lq: .*/blur_gamma(\.lmdb)? holds the gamma.*allow_gamma: true'):
            PairedDeblurDataset(opt)
        assert len(PairedDeblurDataset({**opt, 'allow_gamma': True})) == 4


def epoch(folders, seed: int, workers: int, **others) -> torch.Tensor:
    torch.manual_seed(seed)
    opt = options(folders, num_worker_per_gpu=workers, batch_size_per_gpu=1, **others)
    loader = build_dataloader(
        build_dataset(opt), opt, num_gpu=0, sampler=torch.utils.data.SequentialSampler(range(4)), seed=0
    )
    return torch.cat([batch['lq'] for batch in loader])


def test_workers_draw_differently_and_a_seed_reproduces(write_pairs):
    folders = write_pairs(count=4)
    for folder in folders:
        for index in range(1, 4):
            (folder / f'00{index}.png').write_bytes((folder / '000.png').read_bytes())
    first = epoch(folders, seed=1, workers=2)
    # Four times the same photograph: worker 0 gives images 0 and 2, worker 1 gives 1 and 3.
    assert len({crop.numpy().tobytes() for crop in first}) == 4
    assert torch.equal(first, epoch(folders, seed=1, workers=2))
    assert not torch.equal(first, epoch(folders, seed=2, workers=2))


def test_epochs_draw_differently(write_pairs):
    opt = options(write_pairs(count=2), num_worker_per_gpu=1)
    loader = build_dataloader(
        build_dataset(opt), opt, num_gpu=0, sampler=torch.utils.data.SequentialSampler(range(2)), seed=0
    )
    first, second = (torch.cat([batch['lq'] for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)


def test_workers_read_lmdb(write_pairs, as_lmdb):
    databases = as_databases(write_pairs(), as_lmdb)
    assert epoch(databases, seed=0, workers=2, io_backend={'type': 'lmdb'}).shape == (4, 3, 16, 16)


@pytest.mark.parametrize('workers', [0, 2])
def test_damaged_image_is_one_message_from_any_process(write_pairs, workers):
    folders = write_pairs()
    file = folders.lq / '002.png'
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError) as caught:
        epoch(folders, seed=0, workers=workers)
    traceback.clear_frames(caught.tb)  # frees the loader now; left to the garbage collector, it waits for its workers
    assert str(caught.value).startswith(f'{file}: the image is damaged')
    assert 'Traceback' not in str(caught.value)


def test_images_of_a_pair_must_have_one_size(write_pairs):
    folders = write_pairs()
    cv2.imwrite(str(folders.lq / '001.png'), np.zeros((40, 47, 3), np.uint8))
    for phase in ('train', 'val'):
        with pytest.raises(
            UserError, match=r'differ in size: .*blur/001\.png.* has 47 x 40.*sharp/001\.png.* has 48 x 40'
        ):
            PairedDeblurDataset(options(folders, phase))[1]


def test_image_smaller_than_the_crop_is_named(write_pairs):
    dataset = PairedDeblurDataset(options(write_pairs(), gt_size=41))
    with pytest.raises(UserError, match=r'sharp/000\.png: 48 x 40 pixels are smaller than .* gt_size: 41'):
        dataset[0]
    with pytest.raises(UserError, match=r'sharp/000\.png: 48 x 40 pixels are smaller than .* gt_size: \[24, 50\]'):
        dataset[Sample(0, (24, 50), 0)]


def test_an_image_is_not_its_own_partner(write_pairs):
    folders = write_pairs()
    with pytest.raises(UserError, match=r'sharp/000\.png stands for the blurred and for the sharp image'):
        PairedDeblurDataset(options(folders._replace(lq=folders.gt)))


def test_file_that_vanished_is_named(write_pairs):
    folders = write_pairs()
    dataset = PairedDeblurDataset(options(folders))
    (folders.gt / '000.png').unlink()
    with pytest.raises(UserError, match=r'sharp/000\.png: cannot read the image: No such file'):
        dataset[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'gt_sise': 16}, r"gt_sise: unknown key for PairedDeblurDataset \(did you mean 'gt_size'\?\)"),
        ({'mean': [0.5] * 3}, 'mean: unknown key for PairedDeblurDataset'),
        ({'gt_size': 0}, r'gt_size: expected a whole number of at least 1 or a list of 2, got 0\.$'),
        ({'dataroot_lq': None}, 'dataroot_lq: expected a folder, got ~'),
        ({'dataroot_lq': ABSENT}, 'dataroot_lq: missing, but PairedDeblurDataset needs it'),
        ({'scale': 2}, 'scale: .*must be 1'),
        ({'io_backend': {'type': 'memcached'}}, "expected disk or lmdb, got 'memcached'"),
        ({'io_backend': {'type': 'disk', 'lock': True}}, 'io_backend.lock: unknown key'),
        ({'io_backend': {'type': 'lmdb'}, 'recursive': True}, 'recursive are for folders'),
        ({'gt_size': [16, 16, 16]}, r'gt_size: expected .* or a list of 2, got \[16, 16, 16\]'),
        ({'gt_size': [16, 24]}, r'gt_size \[16, 24\] are not square.*augmentation: 4'),
        ({'pad_to': 0}, r'pad_to: expected a whole number'),
        ({'bit_depth': 12}, 'bit_depth: expected 8 or 16 or ~, got 12'),
        ({'augmentation': 8}, 'augmentation says what use_hflip and use_rot say'),
        ({'augmentation': 2, 'use_hflip': ABSENT, 'use_rot': ABSENT}, 'augmentation: expected 0 or 4 or 8, got 2'),
        ({'phase': 'val', 'augmentation': 4, 'use_hflip': ABSENT, 'use_rot': ABSENT}, 'only training data are turned'),
        ({'batch_size_per_gpu': 9, 'dataset_enlarge_ratio': 2}, 'dataset_enlarge_ratio to at least 3'),
    ],
)
def test_wrong_options_are_named(write_pairs, changes, message):
    with pytest.raises(UserError, match=message):
        PairedDeblurDataset(options(write_pairs(), **changes))
