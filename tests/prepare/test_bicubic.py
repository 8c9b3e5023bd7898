"""Low-resolution images beside those of BasicSR's `imresize`, and what a cubic interpolation must keep."""

from __future__ import annotations

import numpy as np
import pytest
from basicsr.utils.matlab_functions import imresize
from prepare.miniatures import frame, save

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.prepare.bicubic import crop_to_multiple, downsample, read_rgb


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_inside_it_is_that_of_basicsr_to_the_two_roundings(scale):
    image = np.clip(frame(3, 0, (96, 132))[1], 30, 220)  # the cubic kernel overshoots: nothing here needs clipping
    small = downsample(image, scale)
    theirs = imresize(image.astype(np.float32) / 255, 1 / scale) * 255
    assert small.shape == theirs.shape
    inside = (slice(3, -3), slice(3, -3))
    # Half a level of each rounding; the first one is weighted by the kernel, whose absolute sum is below 1.3.
    assert np.abs(small - theirs)[inside].max() <= 0.5 + 0.5 * 1.3
    assert np.abs(small - np.round(theirs))[inside].mean() < 0.3


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_constants_stay_and_lines_stay_lines(scale):
    assert (downsample(np.full((12, 24, 3), 77, np.uint8), scale) == 77).all()
    ramp = np.broadcast_to(np.arange(0, 240, 2, np.uint8)[None, :, None], (24, 120, 3))
    expected = 2 * ((np.arange(120 // scale) + 0.5) * scale - 0.5)
    inside = slice(2, -2)
    assert np.abs(downsample(ramp, scale)[0, inside, 0] - expected[inside]).max() <= 0.5


def test_a_single_bright_line_gives_the_cubic_kernel():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20] = 200
    # Keys' kernel at the distances 1/4 and 3/4, by hand, over the scale; farther out it is negative and clipped.
    found = downsample(image, 2)[10, :, 0]
    assert found[10] == round(200 * 0.8671875 / 2)
    assert found[9] == round(200 * 0.2265625 / 2)
    assert np.count_nonzero(found) == 2


def test_the_first_direction_is_rounded_and_clipped_too():
    image = np.zeros((16, 16, 3), np.uint8)
    image[8:] = 255
    image[:, ::2] //= 2
    rows_first = downsample(image, 2)
    columns_first = downsample(image.transpose(1, 0, 2), 2).transpose(1, 0, 2)
    assert rows_first.shape == columns_first.shape
    assert (rows_first != columns_first).any()


def test_sides_are_cut_to_multiples():
    assert crop_to_multiple(np.zeros((50, 65, 3)), 4).shape == (48, 64, 3)
    assert crop_to_multiple(np.zeros((48, 64, 3)), 4).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((8, 8, 4), np.uint8), 'has an alpha channel'),
        (np.zeros((8, 8, 3), np.uint16), 'pixels of type uint16, expected 8 bits'),
    ],
    ids=['alpha', '16 bit'],
)
def test_other_kinds_of_images_are_refused(image, message, tmp_path):
    save(tmp_path / 'x.png', image)
    with pytest.raises(DataError, match=f'x.png: {message}'):
        read_rgb(tmp_path / 'x.png')


def test_gray_images_get_three_channels(tmp_path):
    save(tmp_path / 'x.png', np.arange(64, dtype=np.uint8).reshape(8, 8))
    image = read_rgb(tmp_path / 'x.png')
    assert image.shape == (8, 8, 3)
    assert (image == image[:, :, :1]).all()
