"""What `deeprftv2 check` finds in prepared sets, each by the file at fault, and its exit codes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from prepare.miniatures import (
    build_dpdd_original,
    build_gopro_original,
    build_hide_original,
    build_realblur_original,
    build_reds_original,
    save,
    shrink_known_sets,
)
from processes import ROOT, python

from deeprftv2_arch.cli import prepare as command
from deeprftv2_arch.cli.check_data import check, main
from deeprftv2_arch.utils.errors import UserError

BUILDERS = {
    'gopro': build_gopro_original,
    'hide': build_hide_original,
    'realblur_j': build_realblur_original,
    'reds': build_reds_original,
    'dpdd': build_dpdd_original,
}
FIRST, SECOND = 'GOPR0372_07_00-000047.png', 'GOPR0372_07_00-000048.png'


@pytest.fixture(autouse=True)
def _small_sets(monkeypatch):
    shrink_known_sets(monkeypatch)


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """GoPro with LMDBs, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_known_sets(patch)
        root = tmp_path_factory.mktemp('prepared')
        source = build_gopro_original(root / 'source')
        command.main(['gopro', '--source', str(source), '--out', str(root / 'out'), '--lmdb', '--workers', '1'])
    return root / 'out'


@pytest.fixture
def root(prepared, tmp_path) -> Path:
    return shutil.copytree(prepared, tmp_path / 'GoPro')


@pytest.mark.parametrize('name', BUILDERS)
@pytest.mark.parametrize('workers', [1, 2])
def test_prepared_sets_are_clean(name, workers, tmp_path, capsys):
    source = BUILDERS[name](tmp_path / 'source')
    out = str(tmp_path / 'out')
    command.main([name, '--source', str(source), '--out', out, '--lmdb', '--workers', '1'])
    capsys.readouterr()
    assert main([name, '--root', out, '--lmdb', '--workers', str(workers)]) == 0
    assert capsys.readouterr().out == f'{out}: all is well.\n'


def rewrite_database(database: Path, change) -> None:
    with lmdb.open(str(database), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        change(transaction)


def drop_key(database: Path) -> None:
    rewrite_database(database, lambda transaction: transaction.delete(Path(FIRST).stem.encode()))
    lines = (database / 'meta_info.txt').read_text().splitlines(keepends=True)
    (database / 'meta_info.txt').write_text(''.join(line for line in lines if FIRST not in line))


def black(path: Path) -> bytes:
    image = cv2.imread(str(path))
    return cv2.imencode('.png', np.zeros_like(image))[1].tobytes()


def swap(folder: Path) -> None:
    first, second = (folder / name for name in (FIRST, SECOND))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def edit_manifest(root: Path, old: str, new: str) -> None:
    text = (root / 'manifest.json').read_text()
    assert old in text
    (root / 'manifest.json').write_text(text.replace(old, new))


FINDINGS = {
    'missing image': (
        lambda root: (root / 'train/sharp' / FIRST).unlink(),
        [
            'train/sharp: 5 images, not the 6 that manifest.json has a checksum of',
            f'train/blur/{FIRST}: has no partner in',
            'train/blur: 5 pairs, there should be 6.',
        ],
    ),
    'missing pair': (
        lambda root: [(root / 'train' / role / FIRST).unlink() for role in ('blur', 'sharp')],
        [
            'train/blur: 5 images, not the 6',
            'train/sharp: 5 images, not the 6',
            'train/blur: 5 pairs, there should be 6.',
        ],
    ),
    'missing folder': (
        lambda root: shutil.rmtree(root / 'train/blur'),
        ['train/blur: there is no such folder. There is an LMDB: add --lmdb.'],
    ),
    'truncated': (
        lambda root: os.truncate(root / 'test/blur/GOPR0384_11_00-000047.png', 500),
        ['test/blur/GOPR0384_11_00-000047.png: the image is damaged'],
    ),
    'size of the pair': (
        lambda root: save(root / 'train/blur' / FIRST, np.zeros((40, 64, 3), np.uint8)),
        [f'train/blur/{FIRST}: 64 x 40 pixels do not fit'],
    ),
    'size of the set': (
        lambda root: [
            save(root / 'train' / role / FIRST, noise(i, (40, 64, 3))) for i, role in enumerate(['blur', 'sharp'])
        ],
        [f'train/sharp/{FIRST}: 64 x 40 pixels, expected 64 x 48.'],
    ),
    'identical': (
        lambda root: shutil.copy(root / 'train/sharp' / FIRST, root / 'train/blur' / FIRST),
        [f'train/blur/{FIRST}: the same image as'],
    ),
    'order': (
        lambda root: swap(root / 'train/blur'),
        [f'train/blur/{FIRST}: out of order: looks like', f'train/blur/{SECOND}: out of order: looks like'],
    ),
    'depth': (
        lambda root: save(
            root / 'train/sharp' / FIRST, cv2.imread(str(root / 'train/sharp' / FIRST)).astype(np.uint16) * 257
        ),
        [f'train/sharp/{FIRST}: 16 bits per channel, expected 8.'],
    ),
    'other file': (
        lambda root: (root / 'train/blur/notes.txt').write_text('x'),
        ['train/blur/notes.txt: not an image.'],
    ),
    'same stem': (
        lambda root: shutil.copy(root / 'train/blur' / FIRST, root / 'train/blur' / FIRST.replace('png', 'bmp')),
        ['train/blur: 7 images, not the 6', 'has the same name but for the extension'],
    ),
    'interrupted': (
        lambda root: edit_manifest(root, '"complete": true', '"complete": false'),
        ['manifest.json: the preparation was interrupted'],
    ),
    'left out': (
        lambda root: edit_manifest(root, '"left_out": []', '"left_out": [{"image": "train/x", "reason": "gone"}]'),
        ['train/x: left out when prepared: gone'],
    ),
}


def noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('case', FINDINGS)
def test_each_fault_is_found_and_nothing_else(case, root):
    damage, expected = FINDINGS[case]
    damage(root)
    findings = check('gopro', root)
    assert len(findings) == len(expected), findings
    for finding, text in zip(findings, expected, strict=True):
        assert text in finding
        assert finding.startswith(str(root))


DATABASE_FINDINGS = {
    'value': (
        lambda root: rewrite_database(
            root / 'train/blur.lmdb',
            lambda transaction: transaction.put(Path(FIRST).stem.encode(), black(root / 'train/blur' / FIRST)),
        ),
        [
            f"train/blur.lmdb, key '{Path(FIRST).stem}': differs from",
        ],
    ),
    'key in both': (
        lambda root: [drop_key(root / f'train/{role}.lmdb') for role in ('blur', 'sharp')],
        [f'train/blur/{FIRST}: is not in', f'train/sharp/{FIRST}: is not in'],
    ),
    'key in one': (lambda root: drop_key(root / 'train/blur.lmdb'), ['LMDB keys differ: 1 only in']),
    'truncated': (
        lambda root: os.truncate(root / 'train/blur.lmdb/data.mdb', 8192),
        ['train/blur.lmdb/data.mdb is truncated'],
    ),
    'gone': (
        lambda root: [shutil.rmtree(root / f'test/{role}.lmdb') for role in ('blur', 'sharp')],
        ['test/blur.lmdb: is in manifest.json and not there', 'test/sharp.lmdb: is in manifest.json and not there'],
    ),
}


@pytest.mark.parametrize('case', DATABASE_FINDINGS)
def test_each_fault_of_a_database_is_found(case, root):
    damage, expected = DATABASE_FINDINGS[case]
    damage(root)
    assert check('gopro', root) == []
    findings = check('gopro', root, lmdb=True)
    assert len(findings) == len(expected), findings
    for finding, text in zip(findings, expected, strict=True):
        assert text in finding


def test_databases_encoded_anew_are_equal(root):
    path = root / 'train/blur' / FIRST
    again = cv2.imencode('.png', cv2.imread(str(path)), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert again != path.read_bytes()
    rewrite_database(root / 'train/blur.lmdb', lambda transaction: transaction.put(path.stem.encode(), again))
    assert check('gopro', root, lmdb=True) == []


def test_databases_without_their_folders_are_looked_through(root):
    for part in ('train', 'test'):
        for role in ('blur', 'sharp'):
            shutil.rmtree(root / part / role)
    assert check('gopro', root, lmdb=True, workers=2) == []
    data = root / 'train/blur.lmdb/data.mdb'
    rewrite_database(data.parent, lambda transaction: transaction.put(Path(FIRST).stem.encode(), b'no image'))
    findings = check('gopro', root, lmdb=True)
    assert len(findings) == 1
    assert f"train/blur.lmdb, key '{Path(FIRST).stem}': OpenCV cannot decode" in findings[0]


def test_folders_that_somebody_else_made_are_checked_too(root, capsys):
    (root / 'manifest.json').unlink()
    for path in root.glob('*/*.lmdb'):
        shutil.rmtree(path)
    assert main(['gopro', '--root', str(root), '--workers', '1']) == 0
    assert f'Note: {root} has no manifest.json' in capsys.readouterr().out
    assert check('gopro', root, lmdb=True) == [
        f'{root}: has no LMDB (train/blur.lmdb and so on). Prepare it with --lmdb.'
    ]


def test_only_what_was_prepared_is_asked_for(root, tmp_path):
    shutil.rmtree(root / 'train')
    assert any('train/blur' in finding for finding in check('gopro', root))
    (root / 'manifest.json').unlink()
    assert check('gopro', root, parts=['test']) == []
    with pytest.raises(UserError, match=r'--parts val: gopro has train, test'):
        check('gopro', root, parts=['val'])


def test_a_manifest_of_another_set_or_format_is_refused(root):
    with pytest.raises(UserError, match=r'manifest.json is of gopro, not of hide'):
        check('hide', root)
    edit_manifest(root, '"format": 1', '"format": 99')
    with pytest.raises(UserError, match=r'has format 99'):
        check('gopro', root)
    (root / 'manifest.json').write_text('{')
    with pytest.raises(UserError, match=r'not a manifest'):
        check('gopro', root)


def test_exit_codes_of_the_command(tmp_path):
    save(tmp_path / 'HIDE/test/blur/a.png', noise(0, (720, 1280, 3)))
    save(tmp_path / 'HIDE/test/sharp/a.png', noise(1, (720, 1280, 3)))
    found = python('-m', 'deeprftv2_arch', 'check', 'hide', '--root', 'HIDE', folder=tmp_path, path=[ROOT])
    assert found.returncode == 1, found.stderr
    assert found.stdout.splitlines() == [
        'HIDE/test/blur: 1 pairs, there should be 2,025.',
        'Note: HIDE has no manifest.json, so it was not made by `deeprftv2 prepare`.',
        'HIDE: 1 finding(s).',
    ]
    wrong = python('-m', 'deeprftv2_arch', 'check', 'hide', '--root', 'nowhere', folder=tmp_path, path=[ROOT])
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith('Error: --root nowhere: there is no such folder.')
