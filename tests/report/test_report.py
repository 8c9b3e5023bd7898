"""The report of a training: read by a parser and by a browser, without anything from outside the page."""

from __future__ import annotations

import csv
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from deeprftv2_arch.cli.report import main
from deeprftv2_arch.report.curves import draw_curves
from deeprftv2_arch.report.experiment import read_experiment
from deeprftv2_arch.utils.console import exit_code

LOG = """2026-01-02 03:04:05,678 INFO:
Version Information:
\tBasicSR: 1.4.2
\tPyTorch: 2.6.0
\tTorchVision: 0.21.0
2026-01-02 03:04:05,679 INFO: deeprftv2_arch 0.1.0 (/somewhere), basicsr 1.4.2 (/else), torch 2.6.0
2026-01-02 03:05:05,679 WARNING: A <b>warning</b> & more
2026-01-02 03:06:05,679 WARNING: A <b>warning</b> & more
"""
OPTIONS = """train: {total_iter: 900}
val:
  metrics:
    psnr: {type: calculate_psnr}
    lpips: {type: calculate_lpips, better: lower}
"""


@pytest.fixture
def experiment(tmp_path):
    """A folder as a training of 400 iterations leaves it after 200, with the numbers of known curves."""
    folder = tmp_path / 'Tiny_GoPro'
    pictures = folder / 'pictures' / 'GoPro-test'
    pictures.mkdir(parents=True)
    with open(folder / 'values.csv', 'w', newline='') as stream:
        rows = csv.writer(stream)
        rows.writerow(('iteration', 'name', 'value'))
        for iteration in range(1, 201):
            noise = math.sin(iteration * 12.9898) * 0.1
            values = {'l_total': 1 / iteration**0.5 * (1 + noise), 'l_pix': 0.8 / iteration**0.5, 'l_fft': 0.2}
            values |= {'lr': 1e-3 * math.cos(iteration / 400 * math.pi / 2) ** 2, 'grad_norm': 0.05 * (1 + noise)}
            rows.writerows((iteration, f'train/{name}', value) for name, value in values.items())
            if iteration % 50 == 0:
                rows.writerow((iteration, 'val/GoPro-test/psnr', 28 - abs(iteration - 150) / 50))
                rows.writerow((iteration, 'val/GoPro-test/lpips', 0.1 + abs(iteration - 100) / 1000))
    (folder / 'train_Tiny_GoPro_20260102_030405.log').write_text(LOG)
    (folder / 'options.yml').write_text(OPTIONS)
    # The command line changed the length.
    (folder / 'resolved_options.yml').write_text(OPTIONS.replace('900', '400'))
    ramp = np.linspace(0, 255, 64 * 192 * 3).reshape(64, 192, 3)
    cv2.imwrite(str(pictures / 'frame.png'), ramp.astype(np.uint8))
    return folder


class Page(HTMLParser):
    """Text, cells of tables and addresses of a page, and whether every element is closed."""

    VOID = ('meta', 'img', 'br')

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.text = ''
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ('src', 'href', 'xlink:href')]
        if tag == 'tr':
            self.rows.append([])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ('src', 'href', 'xlink:href')]

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == 'td':
            self.rows[-1].append(data)


def test_page_says_what_the_folder_holds(experiment, capsys):
    before = {path: path.read_bytes() for path in experiment.rglob('*') if path.is_file()}
    main([str(experiment)])
    out = experiment / 'report.html'
    assert capsys.readouterr().out.strip() == str(out)
    page = Page(out.read_text(encoding='utf-8'))
    assert page.open == []
    assert 'Iteration 200 of 400' in re.sub(r'\s+', ' ', page.text)
    assert ['GoPro-test', 'psnr', '26.00', '27.00', '28.00', '150'] in page.rows
    assert ['GoPro-test', 'lpips', '0.15', '0.2', '0.1', '100'] in page.rows
    assert 'PyTorch: 2.6.0' in page.text
    assert page.text.count('A <b>warning</b> & more') == 1
    assert 'calculate_lpips' in page.text
    outside = [address for address in page.addresses if not address.startswith(('#', 'data:'))]
    assert outside == []
    assert {path: path.read_bytes() for path in before} == before


def test_without_our_launcher_the_copy_of_the_option_file_counts(experiment):
    (experiment / 'resolved_options.yml').unlink()
    assert read_experiment(experiment).total == 900


def test_same_folder_same_page(experiment):
    main([str(experiment), '--out', str(experiment / 'a.html')])
    main([str(experiment), '--out', str(experiment / 'b.html')])
    assert (experiment / 'a.html').read_bytes() == (experiment / 'b.html').read_bytes()


def test_curves_leave_out_what_is_not_finite():
    svg = draw_curves({'loss': [(1, math.nan), (2, 0.5), (3, math.inf), (4, 0.25)]}, logarithmic=True)
    assert svg.startswith('<svg')
    assert 'nan' not in svg.lower()


@pytest.mark.parametrize(
    ('make', 'says'),
    [
        (lambda folder: None, 'There is no folder'),
        (lambda folder: folder.mkdir(), 'has no values.csv'),
    ],
)
def test_a_folder_that_is_no_experiment_is_named_in_one_line(tmp_path, capsys, make, says):
    folder = tmp_path / 'nothing'
    make(folder)
    assert exit_code(lambda: main([str(folder)])) == 2
    said = capsys.readouterr().err
    assert said.startswith('Error: ')
    assert says in said
    assert str(folder) in said
    assert said.count('\n') == 1


CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium or Chrome is installed, so no browser can show the page')
def test_a_browser_shows_curves_and_pictures(experiment, tmp_path):
    main([str(experiment)])
    shot = tmp_path / 'page.png'
    subprocess.run(
        [
            *(CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--hide-scrollbars'),
            *('--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic'),
            *(f'--user-data-dir={tmp_path / "profile"}', '--window-size=1200,2200', f'--screenshot={shot}'),
            (experiment / 'report.html').as_uri(),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    picture = cv2.imread(str(shot))
    assert picture.shape[:2] == (2200, 1200)
    blue = np.abs(picture.astype(int) - (0xA8, 0x63, 0x25)).max(axis=2) < 12  # the colour of the curves, BGR
    assert blue.sum() > 2000
    ground = (picture == (0xF9, 0xF7, 0xF6)).all(axis=2)
    assert 0.05 < ground.mean() < 0.8  # neither empty nor overflowing
