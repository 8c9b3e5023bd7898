"""Values of the command line: what they change, what is refused, and what a run keeps of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from processes import error_lines, python, stock_options

from deeprftv2_arch.config.load import read_checked
from deeprftv2_arch.config.overrides import force_values, set_values
from deeprftv2_arch.config.yaml_file import OptionFile
from deeprftv2_arch.utils.errors import UserError

TEXT = 'name: x\ntrain: {total_iter: 4, stages: [{iterations: 1}, {iterations: 3}]}\nval: ~\n'


def changed(apply, *arguments: str) -> OptionFile:
    file = OptionFile('x.yml', TEXT, yaml.safe_load(TEXT))
    apply(file, arguments)
    return file


@pytest.mark.parametrize(
    ('argument', 'path', 'value'),
    [
        ('name=y', ('name',), 'y'),
        ('train.total_iter=8', ('train', 'total_iter'), 8),
        ('train.grad_clip=1.0e-2', ('train', 'grad_clip'), 0.01),
        ('train.betas=[0.9, 0.99]', ('train', 'betas'), [0.9, 0.99]),
        ('train.scheduler={type: A, T_max: 3}', ('train', 'scheduler'), {'type': 'A', 'T_max': 3}),
        ('train.stages.1.iterations=7', ('train', 'stages', 1, 'iterations'), 7),
        ('val.metrics.psnr.type=calculate_psnr', ('val', 'metrics', 'psnr', 'type'), 'calculate_psnr'),
        ('name=~', ('name',), None),
        ('name=', ('name',), None),
        ('name=a=b', ('name',), 'a=b'),
        ("name='1e5'", ('name',), '1e5'),
        ("name=__import__('os').getcwd()", ('name',), "__import__('os').getcwd()"),
    ],
)
def test_values_of_set(argument, path, value):
    file = changed(set_values, argument)
    part = file.options
    for key in path:
        part = part[key]
    assert part == value
    assert file.problems == []


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('name', '--set name: expected key.key=value.'),
        ('=3', '--set =3: expected key.key=value.'),
        ('train..x=3', '--set train..x=3: expected key.key=value.'),
        ('name.x=3', '--set name.x=3: name: it is not a part with keys of its own, so it has no x.'),
        ('train.stages.2.x=3', '--set train.stages.2.x=3: train.stages: this list has 2 entries, numbered from 0;'),
        ('train.lr=1e-3', '--set train.lr=1e-3: train.lr: YAML takes 1e-3 for text. Write 1.0e-03'),
        ('train.lr=[1', "--set train.lr=[1: train.lr: '[1' is not a value in YAML"),
        ('name=!!python/object/apply:os.mkdir [made]', 'is not a value in YAML'),
    ],
)
def test_what_set_refuses(argument, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = changed(set_values, argument)
    (problem,) = file.problems
    assert message in str(problem)
    assert file.options == yaml.safe_load(TEXT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('train:total_iter=8', 8),
        ('train:total_iter=True', True),
        ('train:total_iter=none', None),
        ('train:total_iter=~', None),
        ('train:total_iter=!!float 1e-3', 0.001),
        ('train:total_iter=0.5', 0.5),
        ('train:total_iter=[1, [2, 3]]', [1, [2, 3]]),
        ("train:total_iter=['naf', 'nafevs']", ['naf', 'nafevs']),
        ('train:total_iter=datasets/GoPro', 'datasets/GoPro'),
    ],
)
def test_force_yml_reads_what_the_basicsr_executes(argument, value):
    """The values are those of BasicSR's `_postprocess_yml_value`."""
    from basicsr.utils.options import _postprocess_yml_value

    assert changed(force_values, argument).options['train']['total_iter'] == value
    assert _postprocess_yml_value(argument.partition('=')[2]) == value


def test_force_yml_executes_nothing(tmp_path, monkeypatch):
    """Both ways into BasicSR's `exec` and `eval`: a key that ends the string, a list that is a call."""
    monkeypatch.chdir(tmp_path)
    for argument in (
        'name"] = __import__("os").mkdir("made") or opt["name=1',
        'name=[__import__("os").mkdir("made")]',
    ):
        changed(force_values, argument)
        assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_is_told_with_the_nearest(write_pairs, training_options, tmp_path):
    file = tmp_path / 'run.yml'
    file.write_text(yaml.safe_dump(training_options(write_pairs())))
    settings = ['train.grad_clip=1', 'datasets.train.num_prefetch_queue=2', 'network_g.img_range=1.0']
    read = read_checked(file, is_train=True, settings=settings, forced=['val:pbar=true'])
    assert (read.options['train']['grad_clip'], read.options['val']['pbar']) == (1, True)
    with pytest.raises(UserError) as raised:
        read_checked(file, is_train=True, settings=['trian.total_iter=1', 'train.grad_clipp=1', 'network_g.num_fet=1'])
    assert str(raised.value).splitlines() == [
        "--set trian.total_iter=1: trian: unknown key for DeblurModel (did you mean 'train'?).",
        "--set train.grad_clipp=1: train.grad_clipp: unknown key for DeblurModel (did you mean 'grad_clip'?).",
        "--set network_g.num_fet=1: network_g.num_fet: unknown key for EDSR (did you mean 'num_feat'?).",
    ]


def test_an_unknown_key_of_a_foreign_data_set(write_pairs, training_options, tmp_path):
    """The file may have keys that we do not know, and so may the command line, with a warning."""
    options = training_options(write_pairs())
    for data in options['datasets'].values():
        data |= {'type': 'PairedImageDataset', 'colour': 'y'}
    file = tmp_path / 'run.yml'
    file.write_text(yaml.safe_dump(options))
    read = read_checked(file, is_train=True, settings=['datasets.val.colour=x'])
    assert (read.options['datasets']['val']['colour'], read.warnings) == ('x', [])
    read = read_checked(file, is_train=True, settings=['datasets.val.color=x'], forced=['datasets:train:mean=[0.5]'])
    assert read.options['datasets']['val']['color'] == 'x'
    assert read.options['datasets']['train']['mean'] == [0.5]
    assert [str(warning) for warning in read.warnings] == [
        '--force_yml datasets:train:mean=[0.5]: datasets.train.mean: the option file has no such key.',
        "--set datasets.val.color=x: datasets.val.color: the option file has no such key (did you mean 'colour'?).",
    ]


def test_new_arguments_of_what_a_foreign_model_names_are_known(tmp_path):
    """Losses, optimizers, schedules and metrics have signatures, also where we do not know what the model reads."""
    file = tmp_path / 'run.yml'
    file.write_text(yaml.safe_dump(stock_options(tmp_path, tmp_path)))
    settings = [
        'train.optim_g.weight_decay=0.1',
        'train.pixel_opt.loss_weight=2.0',
        'train.scheduler.restarts=[0]',
        'val.metrics.psnr.test_y_channel=true',
        'network_g.num_block=2',
    ]
    for early in (False, True):
        assert read_checked(file, is_train=True, settings=settings, early=early).options['network_g']['num_block'] == 2
    warned = read_checked(file, is_train=True, settings=['train.colour=x']).warnings
    assert [warning.message for warning in warned] == ['the option file has no such key.']


def test_a_run_keeps_its_final_options(write_pairs, training_options, tmp_path):
    """A training with `--set`, then the same again from the file that it kept, which stands in the folder itself."""
    options = training_options(write_pairs())
    del options['val'], options['datasets']['val'], options['manual_seed']
    text = '# by hand\n' + yaml.safe_dump(options)
    (tmp_path / 'run.yml').write_text(text)
    launch = ('-m', 'deeprftv2_arch.train', '-opt')
    done = python(*launch, 'run.yml', '--set', 'train.total_iter=1', 'train.scheduler.T_max=9', folder=tmp_path)
    assert (done.returncode, error_lines(done)) == (0, []), done.stderr
    kept = Path('experiments', 'run', 'resolved_options.yml')
    resolved = yaml.safe_load((tmp_path / kept).read_text())
    assert isinstance(resolved.pop('manual_seed'), int)
    assert resolved == {**options, 'train': {**options['train'], 'total_iter': 1, 'scheduler': {'T_max': 9}}}
    assert (tmp_path / kept).read_text().startswith('# The options of this run: run.yml --set train.total_iter=1 --set')
    assert (tmp_path / 'experiments' / 'run' / 'run.yml').read_text().endswith(text)

    again = python(*launch, kept, folder=tmp_path)
    assert (again.returncode, error_lines(again)) == (0, []), again.stderr
    first, second = sorted((tmp_path / 'experiments').glob('run*'), key=lambda folder: len(folder.name), reverse=True)
    weights = [(folder / 'models' / 'net_g_latest.pth').read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]
