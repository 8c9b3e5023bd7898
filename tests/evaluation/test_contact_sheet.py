"""Pictures for the eye, against images whose pixels tell where they are."""

from __future__ import annotations

import numpy as np

from deeprftv2_arch.evaluation.contact_sheet import GAP, side_by_side


def coordinates(height, width):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_the_middles_stand_side_by_side():
    image = coordinates(100, 200)
    picture = side_by_side([image, 255 - image, image], side=40)
    assert picture.shape == (40, 3 * 40 + 2 * GAP, 3)
    middle = image[30:70, 80:120]
    assert np.array_equal(picture[:, :40], middle)
    assert (picture[:, 40 : 40 + GAP] == 255).all()
    assert np.array_equal(picture[:, 40 + GAP : 80 + GAP], 255 - middle)
    assert np.array_equal(picture[:, -40:], middle)


def test_a_small_input_is_enlarged_and_small_images_stay_whole():
    small, large = coordinates(10, 12), np.kron(coordinates(10, 12), np.ones((3, 3, 1), np.uint8))
    picture = side_by_side([small, large], side=384)
    assert picture.shape == (30, 2 * 36 + GAP, 3)
    assert np.array_equal(picture[:, :36], large)
    assert np.array_equal(picture[:, -36:], large)


def test_images_of_one_channel_are_shown_in_gray():
    gray = coordinates(10, 12)[..., 1]
    picture = side_by_side([gray, gray])
    assert picture.shape == (10, 2 * 12 + GAP, 3)
    assert np.array_equal(picture[:, :12], np.stack([gray] * 3, axis=2))
