"""An unmodified checkout of BasicSR learns our names, and forgets them without a trace."""

from __future__ import annotations

import shutil
from pathlib import Path

import basicsr
import pytest
import yaml
from processes import BASICSR_BUILDS, ROOT, error_lines, python, stock_options

from deeprftv2_arch.cli import attach as attaching
from deeprftv2_arch.cli.attach import attach, detach
from deeprftv2_arch.utils.console import exit_code
from deeprftv2_arch.utils.errors import UserError


@pytest.fixture
def checkout(tmp_path, request) -> Path:
    """A checkout of BasicSR, which has the package in a folder of that name."""
    installed = getattr(request, 'param', None)
    package = Path(installed, 'basicsr') if installed else Path(basicsr.__file__).parent
    checkout = tmp_path / 'BasicSR'
    shutil.copytree(package, checkout / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    return checkout


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file() and '__pycache__' not in path.parts}


@pytest.mark.slow
@pytest.mark.parametrize('checkout', BASICSR_BUILDS, indirect=True)
def test_its_own_script_trains_with_our_names(checkout, write_pairs):
    before = contents(checkout)
    folders = write_pairs()
    options = stock_options(folders.lq, folders.gt)
    options['train']['pixel_opt'] = {'type': 'FrequencyLoss', 'loss_weight': 0.01}
    options['datasets']['train']['type'] = 'PairedDeblurDataset'
    (checkout / 'options.yml').write_text(yaml.safe_dump(options))
    path = [checkout, ROOT]
    command = ('basicsr/train.py', '-opt', 'options.yml')

    attach(checkout)
    trained = python(*command, folder=checkout, path=path)
    assert trained.returncode == 0, trained.stderr
    assert f'basicsr 1.4.2 ({checkout / "basicsr"})' in trained.stdout
    assert 'Loss [FrequencyLoss] is created.' in trained.stderr
    assert 'Dataset [PairedDeblurDataset] - photos is built.' in trained.stderr
    # Its own script is patched too: it resumes without CUDA, and from any folder.
    options['train']['total_iter'] = 5
    (checkout / 'options.yml').write_text(yaml.safe_dump(options))
    elsewhere = checkout / 'elsewhere'
    elsewhere.mkdir()
    resumed = python('../basicsr/train.py', '-opt', '../options.yml', '--auto_resume', folder=elsewhere, path=path)
    assert resumed.returncode == 0, resumed.stderr
    assert 'Resuming training from epoch: 0, iter: 4.' in resumed.stderr

    detach(checkout)
    after = contents(checkout)
    assert {path: after[path] for path in before} == before
    assert not [path for path in after if 'deeprftv2' in path.name]


def test_the_command_in_the_checkout_and_our_import_beside_its_own(checkout):
    path = [checkout, ROOT]
    for _ in range(2):  # at the second time, `import deeprftv2_arch` meets its own files while it imports BasicSR
        attached = python('-m', 'deeprftv2_arch', 'attach', '.', folder=checkout, path=path)
        assert attached.returncode == 0, attached.stderr
        assert len(attached.stdout.splitlines()) == len(attaching.FILES)  # and no word about another basicsr
    detached = python('-m', 'deeprftv2_arch', 'attach', '.', '--detach', folder=checkout, path=path)
    assert [line.split()[0] for line in detached.stdout.splitlines()] == ['removed'] * len(attaching.FILES)


def test_a_copy_of_the_package_in_the_checkout(checkout):
    (checkout / 'deeprftv2_arch').symlink_to(ROOT / 'deeprftv2_arch')
    names = 'from basicsr.utils.registry import LOSS_REGISTRY\nprint(*LOSS_REGISTRY.keys())\n'
    (checkout / 'basicsr' / 'train.py').write_text(f'import deeprftv2_arch\n{names}')
    done = python('basicsr/train.py', folder=checkout, path=[checkout])
    assert 'FrequencyLoss' in done.stdout, done.stderr


def test_the_command_without_docstrings(tmp_path):
    done = python('-OO', '-m', 'deeprftv2_arch', 'attach', tmp_path, folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1].split(': ')[0]) == (2, 'Error'), done.stderr


def test_twice_is_once(checkout):
    first = attach(checkout)
    once = contents(checkout)
    assert attach(checkout) == first
    assert contents(checkout) == once
    assert all(file.read_text().count('\n') == 1 for file in first)
    assert detach(checkout) == first
    assert detach(checkout) == []


def test_a_file_that_is_not_ours_is_never_touched(checkout):
    foreign = checkout / 'basicsr' / 'losses' / attaching.FILES['losses']
    foreign.write_text('# my own loss\n')
    before = contents(checkout)
    with pytest.raises(UserError, match=r'deeprftv2_plugin_loss\.py is not ours'):
        attach(checkout)
    assert detach(checkout) == []
    assert contents(checkout) == before


@pytest.mark.parametrize('flags', [[], ['--detach']])
def test_a_folder_that_is_no_checkout(tmp_path, monkeypatch, capsys, flags):
    monkeypatch.setattr('sys.argv', ['attach', str(tmp_path), *flags])
    assert exit_code(attaching.main) == 2
    assert capsys.readouterr().err == (
        f'Error: {tmp_path} is not a BasicSR checkout: it has no file basicsr/archs/__init__.py.\n'
    )
    assert not list(tmp_path.iterdir())


def test_all_or_nothing(checkout, monkeypatch):
    before = contents(checkout)
    write = Path.write_text

    def disk_full(path, *arguments, **settings):
        if path.parent.name == 'losses':
            raise OSError(28, 'No space left on device')
        return write(path, *arguments, **settings)

    monkeypatch.setattr(Path, 'write_text', disk_full)
    with pytest.raises(UserError, match=r'Cannot write .*deeprftv2_plugin_loss\.py: No space left'):
        attach(checkout)
    assert contents(checkout) == before


def test_it_says_which_basicsr_python_finds(checkout, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['attach', str(checkout)])
    assert exit_code(attaching.main) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f'finds {Path(basicsr.__file__).parent}, not this checkout' in last


OWN_ATD = """from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn


@ARCH_REGISTRY.register()
class ATD(nn.Module):
    pass
"""


def test_a_clash_of_names_is_told_in_one_line_and_can_be_detached(checkout):
    own = checkout / 'basicsr' / 'archs' / 'my_atd_arch.py'
    own.write_text(OWN_ATD)
    attach(checkout)
    path = [checkout, ROOT]
    options = stock_options(checkout, checkout)
    (checkout / 'options.yml').write_text(yaml.safe_dump(options))
    trained = python('-m', 'deeprftv2_arch.train', '-opt', 'options.yml', folder=checkout, path=path)
    assert trained.returncode == 2, trained.stderr
    (line,) = error_lines(trained)
    assert 'Two want to be ATD' in line
    assert str(own) in line
    assert str(ROOT / 'deeprftv2_arch' / 'archs' / 'atd_arch.py') in line
    (checkout / 'basicsr' / '__init__.py').write_text('import a_library_that_is_missing\n')
    detached = python('-m', 'deeprftv2_arch', 'attach', '.', '--detach', folder=checkout, path=path)
    assert [line.split()[0] for line in detached.stdout.splitlines()] == ['removed'] * len(attaching.FILES)
