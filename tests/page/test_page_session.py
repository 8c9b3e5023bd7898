"""The photograph of an open page: the same files as the command writes, and none left over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from deeprftv2_arch.page.session import Session, StoppedError
from deeprftv2_arch.restoration.batch import Job, Output, restore_all
from deeprftv2_arch.restoration.network import RestorationNetwork
from deeprftv2_arch.restoration.restorer import Restorer
from deeprftv2_arch.utils.errors import UserError


class Brighter(nn.Module):
    """Adds a little to every pixel, so that a test sees that it ran."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 4 / 255


class Twice(nn.Module):
    """Enlarges by two."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=2)


def silent(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def restorer(net: nn.Module, scale: int = 1, **options: object) -> Restorer:
    return Restorer(RestorationNetwork(net.eval(), 'test', scale, 3, cost=1), 'cpu', **options)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / 'session')


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., Path]:
    """Write a photograph where the page would find it."""

    def write(name: str, mode: str = 'RGB', size: tuple[int, int] = (40, 24), **options: object) -> Path:
        pixels = np.random.default_rng(0).integers(60, 190, (size[1], size[0], 3), np.uint8)
        path = tmp_path / 'uploads' / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(path, **options)
        return path

    return write


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112], found[0x010F] = orientation, 'Maker'
    return found


@pytest.mark.parametrize('strength', [0.0, 0.4, 1.0])
@pytest.mark.parametrize(('name', 'mode'), [('a.JPG', 'RGB'), ('a.png', 'RGBA'), ('a.tiff', 'L'), ('a.webp', 'RGB')])
def test_the_download_is_what_the_command_writes(session, upload, tmp_path, name, mode, strength):
    path = upload(name, mode, exif=exif(1))
    by_command = tmp_path / 'out' / name
    told: list[str] = []
    restore_all(
        [Job(path, by_command)],
        restorer(Brighter()),
        Output(),
        strength=strength,
        on_suspect='blend',
        tell=told.append,
        progress_of=lambda job: silent,
    )
    session.take(path, max_megapixels=1)
    session.restore(restorer(Brighter()), silent)
    seen = session.view(strength)
    assert seen.download.name == f'a_restored{path.suffix}'
    assert seen.download.read_bytes() == by_command.read_bytes()
    assert seen.line.startswith(f'{name}: 40 x 24 pixels, restored in ')


def test_pictures_are_upright_and_of_one_size(session, upload):
    session.take(upload('a.jpg', exif=exif(6)), max_megapixels=1)
    session.restore(restorer(Twice(), scale=2), silent)
    seen = session.view(1.0)
    assert Image.open(seen.download).size == (80, 48)  # turned by the tag that it keeps
    assert Image.open(seen.download).getexif()[0x0112] == 6
    for picture in (seen.before, seen.after):
        assert Image.open(picture).size == (48, 80)
        assert 0x0112 not in Image.open(picture).getexif()


def test_what_is_suspect_is_said(session, upload):
    session.take(upload('a.png'), max_megapixels=1)
    session.restore(restorer(nn.Threshold(2.0, 0.0)), silent)  # black
    assert 'Look at it: the colour of the whole photograph shifts' in session.view(1.0).line


def test_no_files_are_left(session, upload, tmp_path):
    def files() -> set[str]:
        return {path.name for path in tmp_path.rglob('*') if path.is_file()}

    session.take(upload('a.png'), max_megapixels=1)
    assert files() == set()
    session.restore(restorer(Brighter()), silent)
    for strength in (1.0, 0.5):
        session.view(strength)
        assert files() == {'before.jpg', 'after.jpg', 'a_restored.png'}
    session.take(upload('b.png'), max_megapixels=1)
    assert files() == set()
    assert session.view(1.0) is None
    session.restore(restorer(Brighter()), silent)
    session.view(1.0)
    session.close()
    assert files() == set()
    assert session.is_empty


@pytest.mark.parametrize('size', [(0, 0), (2000, 1000)])
def test_a_bad_file_is_named_without_its_folder_and_removed(session, upload, size):
    path = upload('a.jpg', size=size if size[0] else (8, 8))
    if not size[0]:
        path.write_text('a letter')
    with pytest.raises(UserError, match=r'^a\.jpg (is not a photograph|has 2000 x 1000 pixels)') as caught:
        session.take(path, max_megapixels=1)
    assert str(path.parent) not in str(caught.value)
    assert not path.exists()
    session.restore(restorer(Brighter()), silent)
    assert session.view(1.0) is None


def test_one_pixel(session, upload):
    session.take(upload('a.png', size=(1, 1)), max_megapixels=1)
    session.restore(restorer(Brighter()), silent)
    assert Image.open(session.view(1.0).download).size == (1, 1)


def test_is_stopped_between_tiles(session, upload):
    session.take(upload('a.png', size=(80, 80)), max_megapixels=1)
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        session.stopped = True

    with pytest.raises(StoppedError):
        session.restore(restorer(Brighter(), tile=32), progress)
    assert seen == [0]
    assert session.view(1.0) is None
    session.restore(restorer(Brighter(), tile=32), silent)  # and again
    assert session.view(1.0) is not None
