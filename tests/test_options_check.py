"""Option files with one thing wrong in each: the message names the key and helps."""

from __future__ import annotations

from copy import deepcopy

import pytest
import yaml
from processes import stock_options

from deeprftv2_arch.errors import UserError
from deeprftv2_arch.options_check import check_options, check_overrides, read_options

GONE = object()


@pytest.fixture
def train(tmp_path):
    """Good options of a training, as the toolbox hands them on."""
    return parsed(tmp_path, 'train')


@pytest.fixture
def test(tmp_path):
    """Good options of a test, as the toolbox hands them on."""
    return parsed(tmp_path, 'test')


def parsed(folder, kind):
    options = deepcopy(stock_options(folder, folder, kind))
    return {**options, 'is_train': kind == 'train', 'dist': False}


def change(options, dotted, value):
    *parents, last = dotted.split('.')
    for key in parents:
        options = options[key]
    if value is GONE:
        del options[last]
    else:
        options[last] = value


def test_good_ones_pass(train, test):
    check_options(train)
    check_options(test)


COSINE = {'type': 'CosineAnnealingRestartLR', 'periods': [2], 'restart_weights': [1]}


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model_type', 'SRModell', r"^model_type: .*'SRModell' \(did you mean 'SRModel'\?\)"),
        ('datasets.train.type', 'PairedImages', r"^datasets\.train\.type: .* \(did you mean 'PairedImageDataset'\?\)"),
        ('datasets.val.type', GONE, r'no key datasets\.val\.type'),
        ('datasets.train.batch_size_per_gpu', GONE, r'no key datasets\.train\.batch_size_per_gpu\. Add it'),
        (
            'datasets.train.dataroot_gt',
            'nowhere',
            r'^datasets\.train\.dataroot_gt: there is no folder /.*/nowhere\.',
        ),
        ('datasets.train.prefetch_mode', 'cuda', r'^datasets\.train\.prefetch_mode: cuda needs a GPU'),
        ('datasets.test', {}, r'^datasets\.test: to train, a data set is called train, val'),
        ('network_g', {'num_feat': 4}, r'^network_g\.type is missing'),
        ('network_g.type', 'EDSRR', r"^network_g\.type: nothing .*'EDSRR' \(did you mean 'EDSR'\?\)"),
        ('network_g.type', 'Xyzzy', r"^network_g\.type: nothing is registered under the name 'Xyzzy'\.$"),
        ('network_g.num_feet', 4, r"^network_g\.num_feet: EDSR has no such parameter \(did you mean 'num_feat'\?\)"),
        ('network_g.num_in_ch', GONE, r'^network_g\.num_in_ch is missing: EDSR needs it'),
        ('path.pretrain_g', 'x.pth', r"^path\.pretrain_g: unknown key \(did you mean 'pretrain_network_g'\?\)"),
        ('path.pretrain_network_g', 'x.pth', r'^path\.pretrain_network_g: there is no file /.*/x\.pth'),
        ('path.resume_state', '5.state', r'^path\.resume_state: there is no file /.*/5\.state'),
        ('train', GONE, r'no key train\.total_iter'),
        ('train.total_iter', GONE, r'no key train\.total_iter'),
        ('train.pixel_opt.type', 'L1Los', r"^train\.pixel_opt\.type: .* \(did you mean 'L1Loss'\?\)"),
        ('train.pixel_opt.weight', 2, r'^train\.pixel_opt\.weight: L1Loss has no such parameter'),
        ('train.optim_g.type', 'Adamw', r"^train\.optim_g\.type: expected one of Adam, AdamW, .* got 'Adamw'"),
        ('train.optim_g.lr', '1e-3', r'^train\.optim_g\.lr: YAML takes 1e-3 for text\. Write !!float 1e-3'),
        ('train.optim_g.beta', 0.9, r"^train\.optim_g\.beta: AdamW has no .* \(did you mean 'betas'\?\)"),
        ('train.scheduler.type', 'StepLR', r"^train\.scheduler\.type: expected one of MultiStepLR, .* got 'StepLR'"),
        ('train.scheduler.milestone', [3], r"^train\.scheduler\.milestone: .* \(did you mean 'milestones'\?\)"),
        ('train.scheduler', COSINE, r'^train\.scheduler\.periods: they add up to 2 .*total_iter is 4'),
        ('val.val_freq', GONE, r'no key val\.val_freq'),
        (
            'val.metrics.psnr.type',
            'calculate_psnrr',
            r"^val\.metrics\.psnr\.type: .* \(did you mean 'calculate_psnr'\?\)",
        ),
        ('val.metrics.psnr.type', GONE, r'no key val\.metrics\.psnr\.type'),
        ('logger.print_freq', GONE, r'no key logger\.print_freq'),
        ('num_gpu', 99, r'^num_gpu: 99, but this machine has \d+\. Write num_gpu: auto'),
    ],
)
def test_training(train, key, value, message):
    change(train, key, value)
    with pytest.raises(UserError, match=message):
        check_options(train)


@pytest.mark.parametrize('key', ['val.save_img', 'val.suffix'])
def test_testing(test, key):
    change(test, key, GONE)
    with pytest.raises(UserError, match=key):
        check_options(test)


def test_a_run_of_several_processes_that_do_not_know_of_each_other(train, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(UserError, match='2 processes were started for one run: add --launcher pytorch'):
        check_options(train)


def test_tensorboard_is_missing(train, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'^logger\.use_tb_logger: TensorBoard is not installed'):
        check_options(train)


NEEDED = 'name: x, num_gpu: 0, model_type: SRModel, path: {}'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: [1,\nb: 2', r'^x\.yml is not a YAML file: .* line 1, column 4'),
        ('just words', r'^x\.yml is not an option file'),
        ('', r'^x\.yml is not an option file'),
        ('name: x\nnum_gpus: 0', r'no key num_gpu, only num_gpus'),
        (
            '{name: x, num_gpu: 0, model_type: SRModel, datasets: , path: {}}',
            r'^datasets has no keys of its own in x\.yml',
        ),
        ('{name: x, num_gpu: 0, model_type: SRModel, datasets: {train: }, path: {}}', r'^datasets\.train has no keys'),
    ],
)
def test_files(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.yml').write_text(text)
    with pytest.raises(UserError, match=message):
        read_options('x.yml')


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r'^Cannot read the option file .*nowhere\.yml: No such file or directory'):
        read_options(tmp_path / 'nowhere.yml')
    with pytest.raises(UserError, match=r'Is a directory'):
        read_options(tmp_path)


def test_numbers_as_the_toolbox_reads_them(tmp_path):
    options = {'name': 'x', 'num_gpu': 0, 'model_type': 'SRModel', 'datasets': {}, 'path': {}}
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(options) + 'lr: !!float 1e-3\n')
    assert read_options(tmp_path / 'x.yml')['lr'] == 0.001


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('train:total_iter', 'expected key:key=value'),
        ('name=a=b', 'expected key:key=value, with one equals sign'),
        ('trainn:total_iter=3', r'has no part trainn\.$'),
        ('name:total_iter=3', r'^--force_yml name:total_iter=3: the option file has no part name\.$'),
    ],
)
def test_overrides(train, override, message):
    check_overrides(train, ['train:total_iter=3', 'name=x', 'val:pbar=true'])
    with pytest.raises(UserError, match=message):
        check_overrides(train, [override])
