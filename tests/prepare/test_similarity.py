"""Pairs out of order are found, and pairs in order are left alone, however alike neighbours are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from prepare.miniatures import frame

from deeprftv2_arch.prepare.similarity import mismatched_pairs, thumbnail

SIZE = (72, 128)


@pytest.fixture(scope='module')
def film():
    """Forty frames of two scenes."""
    pairs = [frame(scene, index, SIZE) for scene in (1, 2) for index in range(20)]
    return [[thumbnail(image) for image in images] for images in zip(*pairs, strict=True)]


def found(blur, sharp) -> dict[int, int]:
    return {pair.pair: pair.better for pair in mismatched_pairs(blur, sharp)}


def test_the_product_of_thumbnails_is_their_correlation():
    blur, sharp = frame(5, 0, (64, 96))
    thumbnails = [
        cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (32, 32), interpolation=cv2.INTER_AREA).ravel()
        for image in (blur, sharp)
    ]
    correlation = np.corrcoef(thumbnails)[0, 1]
    assert thumbnail(blur) @ thumbnail(sharp) == pytest.approx(correlation, abs=1e-5)
    deep = [thumbnail(image.astype(np.uint16) * 257) for image in (blur, sharp)]
    assert deep[0] @ deep[1] == pytest.approx(correlation, abs=1e-3)


def test_a_film_in_order_is_left_alone(film):
    assert found(*film) == {}


@pytest.mark.parametrize('shift', [1, -1, 5])
def test_a_shift_of_a_scene_is_found(film, shift):
    blur, sharp = film
    shifted = blur[:20][shift:] + blur[:20][:shift] + blur[20:]
    assert found(shifted, sharp) == {index: (index + shift) % 20 for index in range(20)}


def test_two_exchanged_files_are_found(film):
    blur, sharp = [list(images) for images in film]
    blur[3], blur[30] = blur[30], blur[3]
    assert found(blur, sharp) == {3: 30, 30: 3}


def test_a_file_that_was_copied_over_another_is_found(film):
    blur, sharp = [list(images) for images in film]
    blur[3] = blur[30]
    assert found(blur, sharp) == {3: 30}


def test_a_camera_that_stands_still_is_left_alone():
    rng = np.random.default_rng(0)
    blur, sharp = frame(7, 0, SIZE)
    noisy = [np.clip(image + rng.normal(0, 4, (10, *image.shape)), 0, 255).astype(np.uint8) for image in (blur, sharp)]
    assert found(*([thumbnail(image) for image in images] for images in noisy)) == {}


def test_images_without_contrast_are_passed_over(film):
    blur, sharp = [list(images) for images in film]
    blur[4] = sharp[5] = thumbnail(np.full((40, 40, 3), 7, np.uint8))
    assert not blur[4].any()
    assert found(blur, sharp) == {}
