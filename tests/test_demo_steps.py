"""The steps of the demo, each against an identity or against another implementation."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

import deeprftv2_arch  # noqa: F401  # patches BasicSR, which must come before any import of it

# isort: split
from basicsr.data import build_dataset

from deeprftv2_arch.data.synthesis.camera import srgb_to_linear

sys.path.insert(0, str(Path(__file__).parents[1] / 'scripts'))

from demo_steps import launch, pairs, photographs, picture, report

RECIPE = pairs.Recipe(crops=5, crop_size=48, extents=(3, 9), scales=(1, 0.5), test_size=64)


class TestPhotographs:
    @pytest.mark.parametrize('name', photographs.TRAINING + photographs.HELD_ASIDE)
    def test_every_photograph_ships_with_scikit_image(self, name):
        image = photographs.load(name)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3

    def test_no_scene_is_on_both_sides(self):
        scenes = [{name.split('_')[0] for name in side} for side in (photographs.TRAINING, photographs.HELD_ASIDE)]
        assert scenes[0].isdisjoint(scenes[1])

    def test_shrinking_keeps_the_light(self):
        light_before = np.random.default_rng(0).random((40, 60, 3))
        assert photographs.shrink(light_before, 0.5).mean((0, 1)) == pytest.approx(light_before.mean((0, 1)))


class TestPairs:
    @pytest.fixture
    def data(self, tmp_path):
        assert pairs.make(RECIPE, tmp_path / 'data')
        return tmp_path / 'data'

    def test_lmdb_reads_back_through_basicsr(self, data):
        options = {
            'name': 'demo',
            'type': 'PairedImageDataset',
            'dataroot_lq': str(data / 'test' / 'lq.lmdb'),
            'dataroot_gt': str(data / 'test' / 'gt.lmdb'),
            'io_backend': {'type': 'lmdb'},
            'phase': 'test',
            'scale': 1,
        }
        dataset = build_dataset(options)
        assert [pair['lq_path'] for pair in dataset] == sorted(photographs.HELD_ASIDE)
        written = {pair.name: pair for pair in pairs.test_pairs(RECIPE)}
        for pair in dataset:
            for role, side in (('lq', 'blurred'), ('gt', 'sharp')):
                expected = torch.from_numpy(
                    getattr(written[pair['lq_path']], side).transpose(2, 0, 1) / np.float32(255)
                )
                assert torch.equal(pair[role], expected)

    def test_reading_one_pair(self, data):
        expected = next(pairs.test_pairs(RECIPE))
        blurred, sharp = pairs.read_lmdb(data / 'test', expected.name)
        assert np.array_equal(blurred, expected.blurred)
        assert np.array_equal(sharp, expected.sharp)

    def test_sharp_images_are_the_photographs_and_blurred_ones_have_the_same_mean_light(self):
        for pair in pairs.test_pairs(RECIPE):
            photograph = photographs.load(pair.name)
            side = RECIPE.test_size
            top, left = ((length - side) // 2 for length in photograph.shape[:2])
            assert np.array_equal(pair.sharp, photograph[top : top + side, left : left + side])
            means = [srgb_to_linear(image / 255).mean() for image in (pair.sharp, pair.blurred)]
            assert means[0] == pytest.approx(means[1], rel=0.05)
            assert not np.array_equal(pair.sharp, pair.blurred)

    def test_no_kernel_of_the_test_is_used_in_training(self):
        seen = [pair.kernel for pair in pairs.training_pairs(RECIPE)]
        for pair in pairs.test_pairs(RECIPE):
            assert pair.kernel.shape == seen[0].shape
            assert min(np.abs(pair.kernel - kernel).sum() for kernel in seen) > 0.5

    def test_pairs_are_reproducible(self):
        first, again = (list(pairs.training_pairs(RECIPE)) for _ in range(2))
        assert all(np.array_equal(a.blurred, b.blurred) for a, b in zip(first, again, strict=True))

    def test_finished_data_are_kept_and_others_are_replaced(self, data):
        before = (data / 'recipe.json').stat().st_mtime_ns
        assert not pairs.make(RECIPE, data)
        assert (data / 'recipe.json').stat().st_mtime_ns == before
        other = pairs.Recipe(**{**vars(RECIPE), 'crops': 2})
        assert pairs.make(other, data)
        assert len((data / 'train' / 'gt.lmdb' / 'meta_info.txt').read_text().splitlines()) == 2

    def test_leftovers_of_an_interrupted_run_do_not_disturb(self, tmp_path):
        leftover = tmp_path / 'data.unfinished' / 'train' / 'lq.lmdb'
        leftover.mkdir(parents=True)
        (leftover / 'data.mdb').write_bytes(b'torn')
        (tmp_path / 'data').mkdir()
        assert pairs.make(RECIPE, tmp_path / 'data')
        assert [path.name for path in tmp_path.iterdir()] == ['data']


FAKE_TRAINING = """
import pathlib, sys, time
states = pathlib.Path(sys.argv[1])
print('Resuming training from epoch: 0, iter: 1.')
for i in range(2, 1000):
    print(f'[demo..][epoch:  0, iter:{i:8,d}, lr:(1.000e-03,)] l_pix: 1.0e-01 l_total: 2.5e-01 ', flush=True)
    if i % 3 == 0:
        (states / f'{i}.state').touch()
    if i == int(sys.argv[2]):
        raise SystemExit(int(sys.argv[3]))
    time.sleep(0.01)
"""


class TestLaunch:
    @staticmethod
    def fake(states, end, code):
        return [sys.executable, '-c', FAKE_TRAINING, str(states), str(end), str(code)]

    def test_training_is_interrupted_after_the_checkpoint(self, tmp_path):
        assert launch.train(self.fake(tmp_path, 999, 0), 1, 999, tmp_path / '6.state') == 1
        last = max(int(path.stem) for path in tmp_path.iterdir())
        assert 6 <= last < 999

    def test_training_runs_to_its_end(self, tmp_path):
        assert launch.train(self.fake(tmp_path, 8, 0), 1, 8) == 1

    @pytest.mark.parametrize(('code', 'interrupt'), [(1, None), (0, '900.state')])
    def test_an_unexpected_end_is_told_with_the_output(self, tmp_path, code, interrupt):
        with pytest.raises(launch.LaunchError, match=r'iter: *8, lr'):
            launch.train(self.fake(tmp_path, 8, code), 1, 900, interrupt and tmp_path / interrupt)

    def test_a_launcher_does_not_outlive_its_block(self):
        with launch.process([sys.executable, '-c', 'import time; time.sleep(600)']) as child:
            pass
        assert child.returncode == -signal.SIGKILL

    def test_torn_states_are_removed(self, tmp_path):
        torch.save({'iter': 40}, tmp_path / '40.state')
        torch.save({'iter': 80, 'padding': torch.zeros(1000)}, tmp_path / '80.state')
        (tmp_path / '80.state').write_bytes((tmp_path / '80.state').read_bytes()[:3000])
        (tmp_path / '120.state').touch()
        assert launch.last_state(tmp_path) == 40
        assert [path.name for path in tmp_path.iterdir()] == ['40.state']
        assert launch.last_state(tmp_path / 'missing') is None

    def test_a_second_demo_is_refused(self, tmp_path):
        with (
            launch.alone(tmp_path / 'lock'),
            pytest.raises(launch.LaunchError, match='Another demo'),
            launch.alone(tmp_path / 'lock'),
        ):
            pass


class TestReport:
    def test_psnr_agrees_with_scikit_image(self):
        rng = np.random.default_rng(0)
        image, sharp = rng.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
        assert report.quality(image, sharp).psnr == pytest.approx(peak_signal_noise_ratio(sharp, image))
        assert report.quality(image, image) == (float('inf'), pytest.approx(1))

    def test_table_has_a_line_for_each_photograph_and_their_mean(self):
        rows = [
            report.Row('cat', report.Quality(25, 0.5), report.Quality(26.5, 0.6)),
            report.Row('cup', report.Quality(20, 0.7), report.Quality(20.5, 0.7)),
        ]
        cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in report.table(rows).splitlines()[2:]]
        assert cells == [
            ['cat', '25.00', '26.50', '+1.50', '0.5000', '0.6000'],
            ['cup', '20.00', '20.50', '+0.50', '0.7000', '0.7000'],
            ['mean', '22.50', '23.50', '+1.00', '0.6000', '0.6500'],
        ]


class TestPicture:
    def test_crops_stay_inside(self):
        image = np.arange(20 * 30).reshape(20, 30, 1)
        assert np.array_equal(picture.crop(image, (0.5, 0.5), 10), image[5:15, 10:20])
        assert np.array_equal(picture.crop(image, (0, 1), 10), image[:10, 20:])
        assert picture.crop(image, (0.5, 0.5), 25).shape == (20, 25, 1)

    @pytest.mark.parametrize('size', [(9, 9), (31, 31), (64, 64), (64, 48)])
    def test_kernels_keep_their_centre(self, size):
        kernel = np.zeros(size)
        kernel[size[0] // 2, size[1] // 2] = 1
        shown = picture.centre_crop(kernel, 25)
        assert shown.shape == (25, 25)
        assert shown[12, 12] == 1

    def test_picture_is_written(self, tmp_path):
        image = np.full((20, 20, 3), 200, np.uint8)
        panel = picture.Panel('cat', {'blurred': image, 'sharp': image}, {'kernel': np.eye(9) / 9}, ['20 dB', '', ''])
        picture.save([panel, panel], tmp_path / 'picture.png', 'two rows')
        drawn = cv2.imread(str(tmp_path / 'picture.png'))
        assert drawn.shape[1] > drawn.shape[0] > 300
        assert (drawn == 200).all(axis=-1).sum() > 10_000
