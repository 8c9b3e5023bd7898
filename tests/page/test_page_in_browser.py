"""The page as a person uses it: in a browser, from the drop of a photograph to its download."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from browser import browser, missing, requests_of, wait_for
from PIL import Image, ImageFilter
from processes import ROOT, free_port, variables

from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.cli import restore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f'the page needs what is not here: {missing()}'),
]
TINY = {'width': 16, 'num_blocks': [1, 1], 'block_types': [['naf', 'naf']], 'num_columns': 1, 'fke': False}

WATCH = """
import sys

def note(event, details):
    if event in ('socket.connect', 'socket.getaddrinfo'):
        host = details[0] if event == 'socket.getaddrinfo' else details[1]
        host = host[0] if isinstance(host, tuple) else host
        with open({file!r}, 'a') as file:
            file.write(f'{{host}}\\n')

sys.addaudithook(note)
"""
"""Notes whom a process connects to, or looks for."""


class Place(NamedTuple):
    """A page that is served, and where its files are."""

    address: str
    folder: Path
    temporary: Path
    photo: Path
    weights: Path
    other_weights: Path
    server: subprocess.Popen[str]


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp('page')
    weights, other_weights = folder / 'tiny.safetensors', folder / 'other.safetensors'
    for seed, path in enumerate((weights, other_weights)):
        torch.manual_seed(seed)
        net = DeepRFTv2(**TINY)
        with torch.no_grad():
            for parameter in net.columns[-1].unets[0].head.parameters():
                parameter.mul_(0.05)  # what comes out still looks like the photograph
        save_network_file(path, 'DeepRFTv2', TINY, net.state_dict())
    photo = write_photograph(folder / 'chelsea.jpg')
    temporary = folder / 'temporary'
    temporary.mkdir()
    (folder / 'sitecustomize.py').write_text(WATCH.format(file=str(folder / 'hosts.txt')))
    port = free_port()
    command = [sys.executable, '-m', 'deeprftv2_arch', 'page', '--no-browser', '--device', 'cpu', '--port', str(port)]
    command += ['--max-megapixels', '1', '--tile', '128', '--weights', str(weights), str(other_weights)]
    with (folder / 'out.txt').open('w') as out, (folder / 'err.txt').open('w') as err:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=variables((folder, ROOT), TMPDIR=str(temporary), GRADIO_SHARE='True', GRADIO_SERVER_NAME='0.0.0.0'),
            stdout=out,
            stderr=err,
            text=True,
        )
        try:
            wait_for(lambda: 'The page is at' in (folder / 'out.txt').read_text() or server.poll(), 'the page', 240)
            assert server.poll() is None, (folder / 'err.txt').read_text()
            address = f'http://127.0.0.1:{port}/'
            yield Place(address, folder, temporary, photo, weights, other_weights, server)
        finally:
            server.kill()


def write_photograph(path: Path) -> Path:
    """A photograph of scikit-image, blurred, with the marks of a camera."""
    data = pytest.importorskip('skimage.data')
    exif = Image.Exif()
    exif[0x010F] = 'Maker'
    Image.fromarray(data.chelsea()).filter(ImageFilter.GaussianBlur(2)).save(path, quality=95, exif=exif)
    return path


def element(driver: Any, selector: str) -> Any:
    return wait_for(lambda: driver.find_elements('css selector', selector), selector)[0]


def show(driver: Any, address: str) -> None:
    """Open the page, and wait until it is drawn: it is drawn more than once."""
    driver.get(address)
    element(driver, '#download')
    wait_for(lambda: driver.execute_script('return document.readyState') == 'complete', 'the page')
    time.sleep(2)


def drop(driver: Any, path: Path) -> None:
    element(driver, '#drop input[type=file]').send_keys(str(path))


def message(driver: Any, beginning: str) -> str:
    """What the page says, once it begins like this."""

    def said() -> str:
        text = element(driver, '#message textarea').get_attribute('value')
        return text if text.startswith(beginning) and not text.endswith('...') else ''

    return wait_for(said, f'{beginning!r} on the page')


def download(driver: Any, downloads: Path, name: str) -> Path:
    """Press the button, and wait for the file."""
    (downloads / name).unlink(missing_ok=True)
    wait_for(element(driver, '#download').is_enabled, 'the button')
    element(driver, '#download').click()
    wait_for((downloads / name).exists, name)
    return downloads / name


def files(folder: Path) -> list[str]:
    """Of a folder, those that are not empty."""
    return [path.name for path in folder.rglob('*') if path.is_file() and path.stat().st_size]


def mean_difference(first: Path, second: Path) -> float:
    return np.abs(np.asarray(Image.open(first), float) - np.asarray(Image.open(second), float)).mean()


def test_from_drop_to_download(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert restore.main([str(place.photo), '--weights', str(place.weights), '--tile', '128', '--device', 'cpu']) == 0
    by_command = tmp_path / 'restored' / 'chelsea.jpg'
    with browser(tmp_path) as driver:
        show(driver, place.address)
        drop(driver, place.photo)
        assert '451 x 300 pixels, restored in' in message(driver, 'chelsea.jpg: ')

        def widths() -> list[int]:
            pictures = driver.find_elements('css selector', '#view img')
            return [driver.execute_script('return arguments[0].naturalWidth', picture) for picture in pictures]

        wait_for(lambda: widths() == [451, 451], 'both pictures')
        saved = download(driver, tmp_path, 'chelsea_restored.jpg')
        assert mean_difference(saved, by_command) < 0.01
        assert mean_difference(saved, place.photo) > 0.5
        assert Image.open(saved).getexif()[0x010F] == 'Maker'
        driver.save_screenshot(str(place.folder / 'page.png'))

        strength = element(driver, '#strength input[type=number]')
        driver.execute_script("arguments[0].value = ''", strength)
        strength.send_keys('0\t')
        wait_for(lambda: mean_difference(download(driver, tmp_path, saved.name), place.photo) < 0.5, 'no strength')

        asked = requests_of(driver)
        assert f'{place.address}config' in asked or place.address in asked
        assert [url for url in asked if not url.startswith((place.address, 'data:', 'blob:'))] == []
    wait_for(lambda: not files(place.temporary), 'the files of a page that was closed to go')


def test_other_weights(place, tmp_path):
    with browser(tmp_path) as driver:
        show(driver, place.address)
        drop(driver, place.photo)
        message(driver, 'chelsea.jpg: ')
        first = shutil.copy(download(driver, tmp_path, 'chelsea_restored.jpg'), tmp_path / 'first.jpg')
        element(driver, '#weights input').click()
        options = wait_for(lambda: driver.find_elements('css selector', '[role=option]'), 'the choice')
        assert [option.text.split('\n')[-1].strip() for option in options] == [
            place.weights.name,
            place.other_weights.name,
            'those of this package',
        ]
        options[1].click()
        wait_for(
            lambda: mean_difference(download(driver, tmp_path, 'chelsea_restored.jpg'), first) > 0.1, 'other weights'
        )


def test_bad_files(place, tmp_path):
    letter, large, pixel = tmp_path / 'letter.jpg', tmp_path / 'large.png', tmp_path / 'pixel.png'
    letter.write_text('Dear all')
    Image.new('RGB', (1200, 1000)).save(large)
    Image.new('RGB', (1, 1)).save(pixel)
    with browser(tmp_path) as driver:
        show(driver, place.address)
        drop(driver, letter)
        assert message(driver, 'letter.jpg ') == (
            'letter.jpg is not a photograph: its content is none of JPEG, PNG, TIFF, WEBP, BMP.'
        )
        drop(driver, large)
        assert message(driver, 'large.png ').startswith('large.png has 1200 x 1000 pixels')
        assert not element(driver, '#download').is_enabled()
        drop(driver, pixel)
        message(driver, 'pixel.png: 1 x 1 pixels')
        drop(driver, place.photo)  # and goes on
        message(driver, 'chelsea.jpg: ')
    assert 'Traceback' not in (place.folder / 'err.txt').read_text()


def test_nothing_is_fetched_from_elsewhere(place):
    with urllib.request.urlopen(place.address) as answer:
        html = answer.read().decode()
    assert 'gradio' in html
    assert re.findall(r'(?:src|href)=["\']?(?:https?:)?//[^"\'> ]*', html) == []
    assert re.findall(r'@import|fonts\.g', html) == []


def test_ends_cleanly_and_has_asked_nobody(place):
    place.server.send_signal(signal.SIGTERM)
    assert place.server.wait(30) == 0
    assert list(place.temporary.glob('deeprftv2_page_*')) == []
    hosts = set((place.folder / 'hosts.txt').read_text().split())
    assert '127.0.0.1' in hosts  # gradio looks whether its own page is there
    assert hosts <= {'127.0.0.1', 'localhost', 'None', '::1'}
    assert 'Traceback' not in (place.folder / 'err.txt').read_text()
