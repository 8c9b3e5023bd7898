"""Synthesized blur against SciPy's convolution, the statistics it claims, and identities of blur."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from deeprftv2_arch.config.blur_synthesis import BlurSettings, SynthesizedBlurOptions, settings_table
from deeprftv2_arch.data.synthesis import blurs, camera, kernels, pairs, trajectory, views

SETTINGS = BlurSettings()
CLEAN = {'noise_gain': (1e-12, 1e-12), 'read_noise': (1e-9, 1e-9), 'jpeg_share': 0.0, 'highlight_gain': (1, 1)}
SIZE = (40, 48)
MARGIN = SETTINGS.margin


def changed(settings: BlurSettings, **values) -> BlurSettings:
    return BlurSettings(**{**settings.model_dump(), **values})


def light(channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN, channels)
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def only(kind: str, **more) -> BlurSettings:
    shares = {f'share_{name}': float(name == kind) for name in blurs.KINDS}
    return BlurSettings(**{**shares, **more})


def centroid(kernel: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]]
    return np.array([(kernel * y).sum(), (kernel * x).sum()]) - kernel.shape[0] // 2


@pytest.mark.parametrize('kind', blurs.KINDS)
def test_kernels_are_weights_around_their_centre(kind):
    for seed in range(20):
        kernel = blurs.draw_blur(SIZE, only(kind), np.random.default_rng(seed)).kernel()
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
        assert np.abs(centroid(kernel)).max() < 1e-9
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert kernel.shape[0] <= 2 * MARGIN + 1


@pytest.mark.parametrize('kind', ['shake', 'defocus', 'rotation', 'sharp'])
def test_the_blur_of_a_point_is_the_kernel(kind):
    blur = blurs.draw_blur((41, 49), only(kind, roll=0.0, focal_length=(1e6, 1e6)), np.random.default_rng(3))
    point = np.zeros((41 + 2 * MARGIN, 49 + 2 * MARGIN, 3), np.float32)
    point[MARGIN + 20, MARGIN + 24] = 1
    image = blur.apply(point, MARGIN)
    radius = blur.kernel().shape[0] // 2
    found = image[20 - radius : 21 + radius, 24 - radius : 25 + radius, 1]
    # OpenCV places what it warps to a 32nd of a pixel.
    assert np.abs(found - blur.kernel()).max() < (0.01 if kind == 'rotation' else 1e-6)
    assert image.sum() == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize('kind', blurs.KINDS)
def test_a_constant_image_stays_constant(kind):
    for seed in range(5):
        blur = blurs.draw_blur(SIZE, only(kind), np.random.default_rng(seed))
        image = blur.apply(np.full_like(light(), 0.37), MARGIN)
        assert image.shape == (*SIZE, 3)
        assert np.abs(image - 0.37).max() < 1e-5


@pytest.mark.parametrize('kind', ['shake', 'defocus', 'sharp'])
def test_photographs_are_blurred_in_linear_light(kind):
    """Against SciPy's convolution of the light that the standard of sRGB says."""
    settings = only(kind, **CLEAN)
    region = (light() * 255).astype(np.uint8)
    blur = blurs.draw_blur(SIZE, settings, np.random.default_rng(5))
    made = pairs.blur_region(region, blur, settings, np.random.default_rng(0))
    values = region / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    whole = ndimage.convolve(linear, blur.kernel()[..., None], mode='constant')
    expected = whole[MARGIN:-MARGIN, MARGIN:-MARGIN]
    expected = np.where(expected <= 0.0031308, 12.92 * expected, 1.055 * expected ** (1 / 2.4) - 0.055)
    assert np.abs(made.blurred / 255 - expected).max() < 0.51 / 255
    assert np.abs(made.sharp - values[MARGIN:-MARGIN, MARGIN:-MARGIN]).max() < 1e-6


def test_views_that_only_shift_are_a_kernel():
    rng = np.random.default_rng(1)
    path = trajectory.draw_path(9, trajectory.draw_shake(SETTINGS, rng), rng)[:: trajectory.STEPS // 16]
    path -= path.mean(axis=0)
    path = np.round(path * 32) / 32  # what OpenCV rounds to
    shifts = np.repeat(path[:, None, ::-1], 4, axis=1)
    image = light()
    shifted = views.average_views(image, shifts, MARGIN)
    assert np.abs(shifted - kernels.convolve(image, kernels.kernel_of_path(path), MARGIN)).max() < 2e-5


def test_rotation_blurs_differently_from_corner_to_corner_and_moves_none_of_them():
    settings = only('rotation', roll=2.0)
    differences = []
    for seed in range(20):
        shifts = views.draw_views(12, (128, 128), settings, np.random.default_rng(seed))
        assert np.abs(shifts.mean(axis=0)).max() < 1e-9
        extents = [trajectory.path_extent(shifts[:, corner]) for corner in range(4)]
        assert max(extents) <= 12 + 1e-6
        differences.append(max(extents) - min(extents))
    assert np.mean(differences) > 0.5


def test_paths_have_the_extent_and_the_centre_asked_for():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        path = trajectory.draw_path(7.5, trajectory.draw_shake(SETTINGS, rng), rng)
        pairwise = np.linalg.norm(path[:, None] - path[None], axis=2)
        assert pairwise.max() == pytest.approx(7.5, rel=1e-6)
        assert np.abs(path.mean(axis=0)).max() < 1e-9


def test_paths_are_walked_at_constant_speed():
    rng = np.random.default_rng(4)
    steps = np.diff(trajectory.draw_path(9, trajectory.draw_shake(SETTINGS, rng), rng), axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    assert lengths == pytest.approx(lengths[0])


def test_a_straight_path_is_a_straight_line_and_points_between_pixels_are_shared():
    line = kernels.kernel_of_path(np.stack([np.zeros(200), np.linspace(-2, 2, 200)], axis=1))
    assert np.count_nonzero(line.sum(axis=1)) == 1
    assert line[2, 1:4] == pytest.approx(0.25, abs=0.005)
    shared = kernels.kernel_of_path(np.array([[0.25, -0.5]]))
    assert shared == pytest.approx(np.array([[0, 0, 0], [0.375, 0.375, 0], [0.125, 0.125, 0]]))


def test_a_disc_has_its_area_and_a_soft_rim():
    sharp, soft = kernels.disc(4, 0), kernels.disc(4, 0.9)
    assert 1 / sharp[sharp.shape[0] // 2, sharp.shape[0] // 2] == pytest.approx(np.pi * 16, rel=0.02)
    assert np.count_nonzero(soft) > np.count_nonzero(sharp)
    assert np.diff(soft[soft.shape[0] // 2, soft.shape[0] // 2 :]).max() <= 0


def test_an_object_covers_the_background_it_moves_over():
    point = np.ones((1, 1))
    still = blurs.Layers(back=point, front=point, outline_seed=4, share=0.4)
    image = light()
    assert np.abs(still.apply(image, MARGIN) - kernels.trim(image, MARGIN)).max() < 1e-6
    outline = blurs.random_outline((200, 300), 0.4, np.random.default_rng(4))
    assert outline.mean() == pytest.approx(0.4, abs=0.02)
    assert np.count_nonzero((outline > 0) & (outline < 1)) < 0.1 * outline.size


def test_the_transfer_curve_of_srgb_is_undone():
    values = np.arange(256, dtype=np.uint8)
    linear = camera.decode_light(values[:, None])
    assert np.array_equal(camera.to_uint8(camera.linear_to_srgb(linear)), values[:, None])
    assert float(camera.decode_light(np.array([188]))[0]) == pytest.approx(0.5029, abs=1e-4)  # IEC 61966-2-1


def test_noise_grows_with_the_light_as_said():
    taken = camera.Camera(highlight_gain=1, noise_gain=8e-4, read_noise=2e-3, jpeg_quality=None)
    for level in (0.05, 0.2, 0.6):
        picture = taken.expose(np.full((200, 200, 3), level, np.float32), np.random.default_rng(0))
        variance = camera.srgb_to_linear(picture / 255).var()
        assert variance == pytest.approx(8e-4 * level + 4e-6, rel=0.05)


def test_highlights_clip_after_the_blur_in_both_images():
    """A lamp that was brighter than white stays white where its blur would have faded."""
    region = np.zeros((SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN, 3), np.uint8)
    region[:, MARGIN + 20 : MARGIN + 30] = 255
    white = []
    for gain in (1, 3):
        settings = changed(SETTINGS, **{**CLEAN, 'highlight_gain': (gain, gain)})
        blur = blurs.EvenBlur(np.pad(np.full((1, 9), 1 / 9), ((4, 4), (0, 0))))
        pair = pairs.blur_region(region, blur, settings, np.random.default_rng(0))
        assert np.abs(pair.sharp - kernels.trim(region, MARGIN) / 255).max() < 1e-6
        white.append(np.count_nonzero(pair.blurred[0, :, 0] == 255))
    assert white == [2, 14]  # where all nine samples, or three of them, see the lamp


def test_shares_of_kinds_and_of_jpeg_are_those_asked_for():
    rng = np.random.default_rng(0)
    settings = BlurSettings(share_shake=0.5, share_rotation=0, share_defocus=0.3, share_layers=0.2, share_sharp=0)
    drawn = [type(blurs.draw_blur((8, 8), settings, rng)) for _ in range(1000)]
    assert drawn.count(blurs.Layers) / 1000 == pytest.approx(0.2, abs=0.04)
    assert drawn.count(blurs.MovingView) == 0
    cameras = [camera.draw_camera(changed(settings, jpeg_share=0.3), rng) for _ in range(1000)]
    qualities = [one.jpeg_quality for one in cameras if one.jpeg_quality is not None]
    assert len(qualities) / 1000 == pytest.approx(0.3, abs=0.05)
    assert 70 <= min(qualities) <= max(qualities) <= 98


def test_nearly_sharp_crops_are_nearly_their_photograph():
    settings = only('sharp', **CLEAN)
    for seed in range(10):
        kernel = blurs.draw_blur(SIZE, settings, np.random.default_rng(seed)).kernel()
        assert kernel.shape[0] <= 3
        assert kernel[kernel.shape[0] // 2, kernel.shape[0] // 2] > 0.3


def test_jpeg_keeps_the_order_of_channels():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 200
    assert np.abs(camera.through_jpeg(image, 95).astype(int) - image).max() < 4


def test_crops_are_cut_where_there_is_texture():
    photograph = np.full((300, 400, 3), 128, np.uint8)
    photograph[:, 200:] = np.random.default_rng(0).integers(0, 256, (300, 200, 3))
    settings = changed(SETTINGS, tries=50, photograph_scale=(1, 1), texture=20)
    for seed in range(10):
        region = pairs.cut_region(photograph, (60, 60), settings, np.random.default_rng(seed))
        assert pairs.texture(region) >= 20
    assert pairs.texture(photograph[:, :200]) == 0


def test_reduced_crops_average_light():
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[::2] = 255
    settings = changed(SETTINGS, photograph_scale=(0.5, 0.5))
    region = pairs.cut_region(stripes, (60, 60), settings, np.random.default_rng(0))
    assert np.abs(region - 0.5).max() < 1e-3


def test_every_setting_is_an_option_with_its_source():
    assert set(BlurSettings.model_fields) < set(SynthesizedBlurOptions.model_fields)
    for line in settings_table().splitlines()[2:]:
        name, default, meaning, source = (cell.strip() for cell in line.strip('|').split('|'))
        assert default, name
        assert meaning.endswith('.'), name
        assert source, name
