"""What pip and make see: ranges that hold the tested versions, Pythons that fit, and files that must not be there."""

from __future__ import annotations

import ast
import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from processes import ROOT, python

import deeprftv2_arch

PYTHONS = ('3.10', '3.11', '3.12')
FOREIGN = {'selective_scan_cuda', 'mamba_ssm', 'triton'}
"""For CUDA, and imported only where they are: torch brings triton, the others a user has built."""


pytestmark = pytest.mark.xdist_group('packaging')  # one worker builds the wheel for all of them


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel that pip builds of the files in this checkout."""
    folder = tmp_path_factory.mktemp('packaging')
    shutil.copytree(ROOT / 'deeprftv2_arch', folder / 'deeprftv2_arch', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, folder)
    built = python('-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '.', folder=folder, path=[])
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(*folder.glob('*.whl')) as archive:
        yield archive


@pytest.fixture(scope='module')
def package(wheel):
    """The metadata of the wheel."""
    (file,) = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    return email.message_from_bytes(wheel.read(file))


@pytest.fixture(scope='module')
def required(package):
    """What is required, with and without extras, but for our own name, by which extras name extras."""
    found = map(Requirement, package.get_all('Requires-Dist'))
    return [requirement for requirement in found if requirement.name != 'deeprftv2_arch']


@pytest.fixture(scope='module')
def constraints():
    lines = (ROOT / 'constraints.txt').read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def pinned(constraints, name: str, version: str) -> str | None:
    """The version that a constraint names for one Python."""
    for constraint in constraints:
        marker = constraint.marker
        if constraint.name == name and (marker is None or marker.evaluate({'python_version': version})):
            return next(iter(constraint.specifier)).version
    return None


@pytest.mark.parametrize('version', PYTHONS)
def test_ranges_hold_the_tested_versions(package, required, constraints, version):
    assert version in SpecifierSet(package['Requires-Python'])
    for requirement in required:
        assert pinned(constraints, requirement.name, version) in requirement.specifier, requirement


def test_this_environment_has_the_tested_versions(constraints):
    version = '.'.join(map(str, sys.version_info[:2]))
    for name in ('basicsr', 'torch', 'torchvision', 'numpy', 'scipy', 'numba', 'opencv-python', 'lmdb', 'ruff'):
        assert metadata.version(name).partition('+')[0] == pinned(constraints, name, version)


def test_what_is_imported_is_required(required):
    modules = {'cv2': 'opencv-python', 'yaml': 'pyyaml', 'skimage': 'scikit-image', 'llvmlite': 'numba'}
    modules |= {'PIL': 'pillow', 'pillow_heif': 'pillow-heif'}
    names_required = {requirement.name for requirement in required}
    for source in (ROOT / 'deeprftv2_arch').rglob('*.py'):
        for node in ast.walk(ast.parse(source.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in {name.partition('.')[0] for name in names} - sys.stdlib_module_names - FOREIGN:
                assert name == 'deeprftv2_arch' or modules.get(name, name) in names_required, f'{source}: {name}'


def test_the_package_alone_is_packaged(wheel, package):
    assert package['Version'] == deeprftv2_arch.__version__
    assert package['License-Expression'] == 'Apache-2.0'
    sources = [path for path in (ROOT / 'deeprftv2_arch').rglob('*') if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in sources if '__pycache__' not in path.parts}
    assert {name for name in wheel.namelist() if '.dist-info/' not in name} == expected
    assert {'deeprftv2_arch/py.typed', 'deeprftv2_arch/weights/photos.safetensors'} <= expected


def test_the_source_distribution_has_the_weights(tmp_path):
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / 'deeprftv2_arch', tmp_path / 'deeprftv2_arch', ignore=ignored)
    built = python('setup.py', '--quiet', 'sdist', folder=tmp_path, path=[])
    assert built.returncode == 0, built.stderr
    with tarfile.open(*tmp_path.glob('dist/*.tar.gz')) as archive:
        (member,) = [one for one in archive.getmembers() if one.name.endswith('weights/photos.safetensors')]
        assert member.size == (ROOT / 'deeprftv2_arch/weights/photos.safetensors').stat().st_size
        assert member.size <= 8e6


def test_the_console_script(wheel):
    (file,) = [name for name in wheel.namelist() if name.endswith('.dist-info/entry_points.txt')]
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(file).decode())
    assert dict(scripts['console_scripts']) == {'deeprftv2': 'deeprftv2_arch.cli.main:main'}
    assert callable(EntryPoint('deeprftv2', scripts['console_scripts']['deeprftv2'], 'console_scripts').load())


def test_nothing_hides_basicsr():
    assert sorted(path.name for path in (ROOT / 'basicsr').iterdir() if path.name != '__pycache__') == [
        'test.py',
        'train.py',
    ]


def test_licence():
    text = (ROOT / 'LICENSE').read_text()
    assert 'Apache License' in text
    assert 'Version 2.0, January 2004' in text
    assert 'END OF TERMS AND CONDITIONS' in text


def test_python_3_13_is_refused_with_a_reason(package, monkeypatch):
    assert '3.13' not in SpecifierSet(package['Requires-Python'])
    monkeypatch.setattr(sys, 'version_info', (3, 13, 0))
    with pytest.raises(SystemExit, match=r'^deeprftv2_arch needs Python 3\.10, 3\.11 or 3\.12: BasicSR 1\.4\.2'):
        exec((ROOT / 'setup.py').read_text(encoding='utf-8'), {})


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ['make', '--no-print-directory', *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


needs_make = pytest.mark.skipif(shutil.which('make') is None, reason='there is no make')


@needs_make
def test_make_refuses_another_python(tmp_path):
    old = tmp_path / 'python'
    old.write_text('#!/bin/sh\nexit 1\n')
    old.chmod(0o755)
    for chosen in (f'PYTHON={old}', 'PYTHON=', f'PYTHON={tmp_path}/nowhere'):
        done = make('setup', f'VENV={tmp_path}/env', chosen)
        assert done.returncode != 0
        assert done.stderr.splitlines()[0].startswith('Python 3.10, 3.11 or 3.12 is needed')
        assert not (tmp_path / 'env').exists()


@needs_make
def test_make_sets_up_once(tmp_path):
    planned = make('--dry-run', 'setup', f'VENV={tmp_path}', f'PYTHON={sys.executable}')
    assert planned.returncode == 0, planned.stderr
    steps = [line for line in planned.stdout.splitlines() if 'pip install' in line]
    assert [line.split()[-1] for line in steps] == ['wheel', 'torchvision', 'basicsr', "'.[dev]'", 'basicsr-fixed']
    stamp = re.search(r'touch (.*)', planned.stdout)[1]
    Path(stamp).touch()
    assert 'pip install' not in make('--dry-run', 'setup', f'VENV={tmp_path}', f'PYTHON={sys.executable}').stdout
    # The stamp is named after the contents of the dependency files, which the key of the CI's environment is as well.
    assert make('--silent', 'key').stdout.startswith(Path(stamp).name.removeprefix('.ready-'))


@needs_make
def test_make_without_a_target_helps():
    said = make().stdout
    for target in ('demo', 'test', 'quick', 'lint', 'format', 'clean'):
        assert re.search(rf'^make {target}\b', said, flags=re.MULTILINE)


def test_ci_is_make_test():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert subprocess.run(['bash', '-n', script], check=False).returncode == 0
    assert 'exec make test' in script.read_text()
