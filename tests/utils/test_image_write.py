"""Pictures appear whole, and failing to write one leaves nothing behind."""

from __future__ import annotations

import errno
import os

import cv2
import numpy as np
import pytest

from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.image_write import write_image

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_reads_back_from_a_new_folder(tmp_path):
    path = tmp_path / 'a' / 'b' / 'x.png'
    write_image(IMAGE, path)
    np.testing.assert_array_equal(cv2.imread(str(path)), IMAGE)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('step', ['write_bytes', 'replace'])
def test_full_disk_keeps_the_old_picture_and_leaves_no_part(tmp_path, monkeypatch, step):
    path = tmp_path / 'x.png'
    write_image(IMAGE, path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == 'replace':
        monkeypatch.setattr(os, 'replace', full)
    else:
        monkeypatch.setattr(type(path), 'write_bytes', full)
    with pytest.raises(UserError, match=rf'Cannot write {path}: No space left'):
        write_image(IMAGE + 1, path)
    np.testing.assert_array_equal(cv2.imread(str(path)), IMAGE)
    assert list(tmp_path.iterdir()) == [path]


def test_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / 'taken').touch()
    with pytest.raises(UserError, match='taken'):
        write_image(IMAGE, tmp_path / 'taken' / 'x.png')
