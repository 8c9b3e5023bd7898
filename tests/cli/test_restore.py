"""`deeprftv2 restore`: what goes where, what is left alone, and what is said about everything that may be wrong."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ROOT
from torch import nn

from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.cli import restore
from deeprftv2_arch.restoration import restorer
from deeprftv2_arch.restoration.network import RestorationNetwork
from deeprftv2_arch.utils.console import exit_code
from deeprftv2_arch.utils.errors import UserError

TINY = {'width': 8, 'num_blocks': [1, 1], 'block_types': [['naf', 'naf']], 'num_columns': 1, 'fke': False}


class Brighter(nn.Module):
    """Adds a little to every pixel, so that a test sees that it ran."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 4 / 255


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of one's own, with a network that is there at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restorer, 'load_network', lambda weights: RestorationNetwork(Brighter().eval(), 'Test', 1, 3))
    return tmp_path


def write(*names: str, value: int = 100) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (24, 16), (value, value, value)).save(name)


def value_of(path: str) -> int:
    return int(np.asarray(Image.open(path))[0, 0, 0])


def files(folder: str = '.') -> set[str]:
    return {str(path.relative_to(folder)) for path in Path(folder).rglob('*') if path.is_file()}


def test_a_photograph(capsys):
    write('a.png')
    assert restore.main(['a.png']) == 0
    assert value_of('restored/a.png') == 104
    assert value_of('a.png') == 100
    assert files() == {'a.png', 'restored/a.png'}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Test on cpu, 1 photograph' or lines[0].startswith('Test on ')
    assert lines[1].startswith('a.png -> restored/a.png (24 x 16), ')


def test_a_folder_keeps_its_paths(capsys):
    write('in/a.png', 'in/deep/b.png', 'in/.hidden/c.png', 'in/._d.png')
    Path('in/notes.txt').write_text('x')
    assert restore.main(['in', '--out', 'in/out']) == 0
    assert files('in/out') == {'a.png', 'deep/b.png'}
    assert restore.main(['in', '--out', 'in/out']) == 0  # what was written is not taken for an input
    assert files('in/out') == {'a.png', 'deep/b.png'}
    assert capsys.readouterr().out.splitlines()[-1] == '0 restored; 2 skipped, as they were there already.'


def test_goes_on_where_it_was(capsys):
    write('in/a.png', 'in/b.png')
    restore.main(['in/a.png'])
    write('in/a.png', value=50)
    assert restore.main(['in']) == 0
    assert (value_of('restored/a.png'), value_of('restored/b.png')) == (104, 104)
    assert 'in/a.png: skipped, restored/a.png is there already' in capsys.readouterr().out
    assert restore.main(['in', '--overwrite']) == 0
    assert value_of('restored/a.png') == 54


def test_one_bad_file_does_not_stop_the_others(capsys):
    write('in/a.png', 'in/c.png')
    Path('in/b.jpg').write_text('a letter')
    assert restore.main(['in']) == 1
    assert files('restored') == {'a.png', 'c.png'}
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        'Error: in/b.jpg is not a photograph: its content is none of JPEG, PNG, TIFF, WEBP, BMP.'
    ]
    assert output.out.splitlines()[-1] == '2 restored; 1 failed (in/b.jpg).'


def test_other_format(capsys):
    write('a.png', 'b.jpg', 'c.jpeg')
    assert restore.main(['a.png', 'b.jpg', 'c.jpeg', '--format', 'jpeg', '--quality', '80']) == 0
    assert files('restored') == {'a.jpg', 'b.jpg', 'c.jpeg'}
    assert Image.open('restored/a.jpg').format == 'JPEG'


def test_strength(capsys):
    write('a.png')
    restore.main(['a.png', '--strength', '0.5'])
    assert value_of('restored/a.png') == 102


def refused(*arguments: str) -> str:
    before = files()
    with pytest.raises(UserError) as error:
        restore.main(list(arguments))
    assert files() == before
    assert '\n' not in str(error.value)
    return str(error.value)


def test_nothing_to_restore():
    Path('empty').mkdir()
    assert refused('empty').startswith('empty has no photographs: no file that ends in .bmp, ')
    assert refused('gone.jpg') == 'There is no photograph or folder gone.jpg.'


def test_inputs_are_never_written_over():
    write('a.png')
    assert 'a.png is a photograph to restore' in refused('a.png', '--out', '.', '--overwrite')
    assert 'a.png is a photograph to restore' in refused('.', '--out', '.')
    Path('restored').mkdir()
    os.link('a.png', 'restored/a.png')
    assert 'restored/a.png is a photograph to restore' in refused('a.png', '--overwrite')
    Path('restored/a.png').unlink()
    os.symlink('../a.png', 'restored/a.png')
    assert 'restored/a.png is a photograph to restore' in refused('a.png', '--overwrite')
    assert value_of('a.png') == 100


def test_two_photographs_of_one_name():
    write('x/a.png', 'y/a.png')
    assert refused('x/a.png', 'y/a.png') == (
        'x/a.png and y/a.png would both become restored/a.png. Restore them one after the other.'
    )
    write('a.png', 'a.bmp')
    assert 'would both become restored/a.tif' in refused('a.png', 'a.bmp', '--format', 'tiff')


def test_named_twice_is_restored_once(capsys):
    write('in/a.png')
    assert restore.main(['in/a.png', 'in', 'in/a.png']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == '1 restored; 2 skipped, as they were there already.'


@pytest.mark.parametrize(
    'arguments', [['--strength', '2'], ['--quality', '0'], ['--format', 'gif'], ['--on-suspect', 'hope']]
)
def test_options_that_cannot_be(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        restore.main(['a.png', *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_tile_that_cannot_be():
    write('a.png')
    Path('restored').mkdir()
    assert 'auto or none' in refused('a.png', '--tile', 'large')
    assert 'at least 16 pixels' in refused('a.png', '--tile', '2')


def test_suspect_photographs_are_named(monkeypatch, capsys):
    class Red(nn.Module):
        def forward(self, x):
            return x + torch.tensor([0.3, 0, 0])[:, None, None]

    monkeypatch.setattr(restorer, 'load_network', lambda weights: RestorationNetwork(Red().eval(), 'Test', 1, 3))
    write('in/a.png', 'in/b.png')
    assert restore.main(['in', '--on-suspect', 'keep']) == 0
    assert value_of('restored/a.png') == 100
    output = capsys.readouterr().out.splitlines()
    assert 'LOOK AT IT: the colour of the whole photograph shifts by 30 %; the input was kept' in output[1]
    assert output[-1] == '2 restored; 2 to look at (in/a.png, in/b.png).'
    restore.main(['in', '--on-suspect', 'write', '--overwrite'])
    assert value_of('restored/a.png') > 170


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_folder_that_may_not_be_written():
    write('a.png')
    Path('locked').mkdir(mode=0o500)
    assert 'Cannot write locked' in refused('a.png', '--out', 'locked/out')


def test_out_that_is_a_file():
    write('a.png')
    Path('out').write_text('x')
    assert 'Cannot write out: File exists' in refused('a.png', '--out', 'out')


def test_full_disk_ends_it_at_once(monkeypatch, capsys):
    write('in/a.png', 'in/b.png', 'in/c.png')
    whole = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name.startswith('b.png'):
            whole(self, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return whole(self, data)

    monkeypatch.setattr(Path, 'write_bytes', full)
    assert exit_code(lambda: restore.main(['in'])) == 2
    error = capsys.readouterr().err.splitlines()
    assert error == [
        'Error: Cannot write restored/b.png: No space left on device. Make room, or correct the folder or its rights. '
        '1 restored.'
    ]
    assert files('restored') == {'a.png'}


def test_interrupted_writing_leaves_nothing(monkeypatch, capsys):
    write('in/a.png', 'in/b.png')

    class Stopped(nn.Module):
        calls = 0

        def forward(self, x):
            Stopped.calls += 1
            if Stopped.calls == 2:
                raise KeyboardInterrupt
            return x

    monkeypatch.setattr(restorer, 'load_network', lambda weights: RestorationNetwork(Stopped().eval(), 'Test', 1, 3))
    assert exit_code(lambda: restore.main(['in']), 'Interrupted. Go on.') == 130
    assert capsys.readouterr().err.splitlines() == ['Interrupted. Go on.']
    assert files('restored') == {'a.png'}


def test_one_pixel_and_two_hundred_megapixels(monkeypatch, capsys):
    Image.new('L', (1, 1), 77).save('one.png')
    Image.new('1', (20000, 10000)).save('many.png')
    assert restore.main(['one.png', 'many.png']) == 1
    assert np.asarray(Image.open('restored/one.png')).tolist() == [[81]]
    assert capsys.readouterr().err.splitlines() == [
        'Error: many.png has 20000 x 10000 pixels, 200 megapixels. If you mean it, allow it with --max-megapixels 200.'
    ]


def test_as_a_user_would(tmp_path):
    """The command itself, with weights that carry their options, interrupted and called again."""
    torch.manual_seed(0)
    options = {**TINY, 'zero_init_tails': True}
    save_network_file('tiny.safetensors', 'DeepRFTv2', options, DeepRFTv2(**options).state_dict())
    write(*[f'in/{index}.png' for index in range(3)])
    command = [
        sys.executable,
        '-m',
        'deeprftv2_arch',
        'restore',
        'in',
        '--weights',
        'tiny.safetensors',
        '--device',
        'cpu',
    ]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.readline()  # the first photograph is done
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    done = files('restored')
    assert '0.png' in done
    if process.returncode:  # it may have been faster than the signal
        assert process.returncode == 130
        assert error.strip() == 'Interrupted. Run the same command again to go on.'
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, '')
    assert files('restored') == {'0.png', '1.png', '2.png'}
    assert value_of('restored/2.png') == 100
