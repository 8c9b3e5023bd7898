"""The model card describes the weights that are in the package, and the pages that show them fit together."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import re
from types import ModuleType

import pytest
from PIL import Image
from processes import ROOT

from deeprftv2_arch.restoration.evaluation import filters


@pytest.fixture(scope='module')
def script() -> ModuleType:
    """`scripts/model_card.py` as a module."""
    spec = importlib.util.spec_from_file_location('model_card', ROOT / 'scripts' / 'model_card.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_are_those_of_the_shipped_weights(script):
    digest = hashlib.sha256(script.WEIGHTS.read_bytes()).hexdigest()
    assert digest in script.between(script.CARD.read_text(encoding='utf-8'), 'figures')


def test_the_card_and_the_readme_say_the_same(script):
    figures = script.between(script.CARD.read_text(encoding='utf-8'), 'figures')
    (gain,) = re.findall(r'\| DeepRFTv2 .*?\| +([+-]\d+\.\d\d) ', figures)
    line = script.between(script.README.read_text(encoding='utf-8'), 'gains')
    assert f'synthetic blur: {gain} dB' in ' '.join(line.split())


def test_the_card_counts_the_filters_that_were_tried(script):
    masks, wieners = len(filters.RADII) * len(filters.AMOUNTS), len(filters._kernels()) * len(filters.BALANCES)
    card = ' '.join(script.CARD.read_text(encoding='utf-8').split())
    assert f'of {masks} unsharp masks and {wieners} Wiener filters' in card


def test_the_table_of_photographs_counts_the_list(script):
    assert script.between(script.CARD.read_text(encoding='utf-8'), 'sources') == script.table_of_sources()
    with script.SOURCES.open(encoding='utf-8') as file:
        rows = list(csv.DictReader(file, delimiter='\t'))
    counted = re.findall(r'^\| (\d+) \|', script.table_of_sources(), re.MULTILINE)
    assert sum(map(int, counted)) == len(rows)
    assert not any('kodim' in row['path'].lower() for row in rows)  # the Kodak pictures measure


def test_pictures_are_there_and_small(script):
    for page in (script.CARD, script.README):
        shown = re.findall(r'\]\(([^)]*model_card/[^)]*\.jpg)\)', page.read_text(encoding='utf-8'))
        assert shown
        for name in shown:
            with Image.open(page.parent / name) as picture:
                picture.load()
    assert sum(path.stat().st_size for path in script.FOLDER.glob('*.jpg')) <= 600_000


def test_the_one_line(script):
    row = {'set': 'pairs', 'image': 'a', 'psnr_before': '20', 'psnr_after': '21.5', 'method': 'Net'}
    filters = [{**row, 'method': f'best {name}', 'psnr_after': value} for name, value in (('x', '20.1'), ('y', '20.2'))]
    scene = {'set': 'scenes', 'image': 'b', 'psnr_before': '20', 'psnr_after': '19.9', 'method': 'Net'}
    sharp = {'set': 'sharp', 'image': 'c', 'psnr_before': '', 'psnr_after': '43.21', 'method': 'Net'}
    line = ' '.join(script.gains_in_one_line([row, *filters, scene, sharp]).split())
    assert '1 Kodak crops' in line
    assert '+1.50 dB in the mean' in line
    assert 'best y: +0.20' in line
    assert 'Of 1 really blurred photographs 0 came nearer' in line
    assert '43.2 dB to themselves' in line


def test_pasting_keeps_what_is_around(script):
    text = 'a\n<!-- x -->\nold\n<!-- end of x -->\nb\n'
    assert script.paste(text, 'x', 'new\n') == text.replace('old', 'new')
    assert script.paste(text.replace('old\n', ''), 'x', 'new') == text.replace('old', 'new')
    assert script.between(text, 'x') == 'old'
    with pytest.raises(SystemExit, match='no markers "y"'):
        script.paste(text, 'y', '')
