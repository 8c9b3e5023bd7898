"""Option files with mistakes: each is found, named by its key and its line, and all are found at once.

Every file here is checked twice, against what is registered and against the names on file, with one outcome but for
what torch alone can tell.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from processes import ROOT, python, stock_options

from deeprftv2_arch.config.load import read_checked
from deeprftv2_arch.config.problems import OptionsError

GONE = object()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stock(tmp_path) -> dict[str, Any]:
    """Good options of a training that name nothing but parts of BasicSR."""
    return apart(stock_options(tmp_path, tmp_path))


@pytest.fixture
def ours(write_pairs, training_options) -> dict[str, Any]:
    """Good options of a training with our data set and our model."""
    return apart(training_options(write_pairs()))


def apart(options: dict[str, Any]) -> dict[str, Any]:
    """The same options, no part of which is in two places."""
    return json.loads(json.dumps(options))


def mistakes(
    options: dict[str, Any] | str, *settings: str, kind: str = 'train', launcher: str = 'none', dynamic: bool = False
) -> list[str]:
    """What is found wrong with these options, a line each, without the place.

    Args:
        options: The options, or the text of the file.
        settings: Values of the command line.
        kind: Whether they are for a training or a test.
        launcher: What starts the run.
        dynamic: Whether the test registers something that stands in no source file.
    """
    Path('run.yml').write_text(options if isinstance(options, str) else yaml.safe_dump(options, sort_keys=False))
    lines = found(False, settings, kind, launcher)
    if not dynamic:
        of_torch = [line for line in lines if 'but this machine has' in line or 'needs one list per scale' in line]
        assert found(True, settings, kind, launcher) == [line for line in lines if line not in of_torch]
    return [line.split(': ', 1)[1] for line in lines]


def found(early: bool, settings: Sequence[str], kind: str, launcher: str) -> list[str]:
    try:
        read_checked('run.yml', is_train=kind == 'train', settings=settings, launcher=launcher, early=early)
    except OptionsError as error:
        return str(error).splitlines()
    return []


def change(options: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split('.')
    part: Any = options
    for key in parents:
        part = part[key]
    if value is GONE:
        del part[last]
    else:
        part[last] = value


def test_good_options_pass(stock, ours, tmp_path):
    assert mistakes(stock) == []
    assert mistakes(ours) == []
    assert mistakes(stock_options(tmp_path, tmp_path, 'test'), kind='test') == []


COSINE = {'type': 'CosineAnnealingRestartLR', 'periods': [2], 'restart_weights': [1]}


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model_type', 'SRModell', "nothing is registered under the name 'SRModell' (did you mean 'SRModel'?)"),
        ('datasets.train.type', 'PairedImages', "under the name 'PairedImages' (did you mean 'PairedImageDataset'?)"),
        ('datasets.val.type', GONE, 'missing. Class that reads the data'),
        ('datasets.val.type', ['x'], "nothing is registered under the name ['x']."),
        ('datasets.train.batch_size_per_gpu', GONE, 'missing. Images that a process takes'),
        ('datasets.train.batch_size_per_gpu', 'two', "expected a whole number of at least 1, got 'two'."),
        ('datasets.train.dataroot_gt', 'nowhere', 'there is no folder /'),
        ('datasets.train.prefetch_mode', 'cuda', 'cuda needs a GPU'),
        ('datasets.test', {'name': 'x', 'type': 'PairedImageDataset'}, 'to train, a data set is called train, val'),
        ('datasets.train', None, 'expected keys of its own'),
        ('network_g.type', GONE, 'missing. It names the class.'),
        ('network_g.type', 'EDSRR', "nothing is registered under the name 'EDSRR' (did you mean 'EDSR'?)."),
        ('network_g.type', 'Xyzzy', "nothing is registered under the name 'Xyzzy'."),
        ('network_g.num_feet', 4, "unknown key for EDSR (did you mean 'num_feat'?)."),
        ('network_g.xyzzy', 4, 'unknown key for EDSR. Known keys: img_range, num_block'),
        ('network_g.num_in_ch', GONE, 'missing, but EDSR needs it. Channel number of inputs.'),
        ('path.pretrain_g', 'x.pth', "unknown key (did you mean 'pretrain_network_g'?)."),
        ('path.pretrain_network_g', 'x.pth', 'there is no file /'),
        ('path.resume_state', '5.state', 'there is no file /'),
        ('path', None, 'expected keys of its own, got ~.'),
        ('train.total_iter', GONE, 'missing. Iterations of the whole training.'),
        ('train.total_iter', 1.5, 'expected a whole number of at least 1, got 1.5.'),
        ('train.pixel_opt.type', 'L1Los', "(did you mean 'L1Loss'?)"),
        ('train.pixel_opt.weight', 2, "unknown key for L1Loss (did you mean 'loss_weight'?)"),
        ('train.optim_g.type', 'Adamw', "expected one of Adam, AdamW, Adamax, SGD, ASGD, RMSprop, Rprop, got 'Adamw'"),
        ('train.optim_g.beta', 0.9, "unknown key for AdamW (did you mean 'betas'?)"),
        ('train.optim_g.lr', [1], 'expected a number'),
        ('train.optim_g.lr', GONE, 'missing. AdamW needs a learning rate.'),
        ('train.scheduler.type', 'StepLR', 'expected one of MultiStepLR, MultiStepRestartLR, CosineAnnealingRestartLR'),
        ('train.scheduler.milestone', [3], "unknown key for MultiStepRestartLR (did you mean 'milestones'?)"),
        ('val.val_freq', GONE, 'missing. Iterations between validations.'),
        ('val.metrics.psnr.type', 'calculate_psnrr', "(did you mean 'calculate_psnr'?)"),
        ('val.metrics.psnr.type', GONE, 'missing. A registered function.'),
        ('val.metrics.psnr.crop_border', GONE, 'missing, but calculate_psnr needs it.'),
        ('logger.print_freq', GONE, 'missing. Iterations between lines of the log.'),
        ('logger.print_freq', 0, 'expected a whole number of at least 1, got 0.'),
        ('val.metrics.psnr.crop_border', -1, 'expected a whole number of at least 0, got -1.'),
        ('val.metrics.psnr.gt_size', 8, 'unknown key for calculate_psnr. Known keys: crop_border'),
        ('val.metrics.psnr.test_y_channel', ' ', "expected true or false, got ' '."),
        ('val.metrics.psnr.input_order', 'CWH', "expected HWC or CHW, got 'CWH'."),
        ('datasets.train.dataroot_lq', '', 'it is empty. Name a folder'),
        ('datasets.val.meta_info_file', '', 'it is empty. Name a file'),
        ('datasets.train.filename_tmpl', '{}_{}', "'{}_{}' cannot be filled with a name"),
        ('network_g.num_in_ch', 1, 'num_in_ch: 1, but the images of datasets.train have 3 channels.'),
        ('num_gpu', 99, '99, but this machine has '),
        ('num_gpu', 'all', "expected a whole number of at least 0 or auto, got 'all'."),
    ],
)
def test_a_part_of_basicsr(stock, key, value, message):
    change(stock, key, value)
    assert len(found := mistakes(stock)) == 1
    assert found[0].startswith(f'{key}: ')
    assert message in found[0]


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('manual_sed', 1, "manual_sed: unknown key for DeblurModel (did you mean 'manual_seed'?)."),
        ('datasets.train.use_hflipp', True, "unknown key for PairedDeblurDataset (did you mean 'use_hflip'?)."),
        (
            'datasets.train.gt_size',
            [32],
            'expected a whole number of at least 1 or a list of 2, got [32].',
        ),
        ('datasets.train.gt_size', 0, 'or a list of 2, got 0.'),
        (
            'datasets.train.gt_size',
            GONE,
            'missing, but PairedDeblurDataset needs it. Training crop in pixels: one number or `[height, width]`; '
            'or give `train.stages`.',
        ),
        ('datasets.train.gt_size', None, 'missing, but PairedDeblurDataset needs it.'),
        ('datasets.train.augmentation', 3, 'expected 0 or 4 or 8, got 3.'),
        ('datasets.train.recursive', 'ja', "expected true or false, got 'ja'."),
        ('datasets.train.meta_info_file', 'pairs.txt', 'there is no file /'),
        ('datasets.val.dataroot_lq', '', 'it is empty. Name a folder; the current folder is called a dot.'),
        ('datasets.val.dataroot_gt', ' ', 'it is empty.'),
        ('datasets.train.meta_info_file', '', 'it is empty. Name a file'),
        ('path.param_key_g', '', 'it is empty. Write ~ for none'),
        ('path.pretrain_network_g', '', 'it is empty.'),
        ('datasets.train.filename_tmpl', '{}_{}', "'{}_{}' cannot be filled with a name"),
        ('datasets.train.filename_tmpl', '{:d}', "'{:d}' cannot be filled with a name"),
        ('datasets.train.filename_tmpl', '{name}', "'{name}' cannot be filled with a name"),
        ('datasets.train.filename_tmpl', '{', "'{' cannot be filled with a name"),
        ('datasets.train.filename_tmpl', '{.x}', "'{.x}' cannot be filled with a name"),
        ('datasets.train.filename_tmpl', 'blur', "'blur' makes the same of every name"),
        (
            'datasets.val.dataroot_lq',
            GONE,
            'missing, but PairedDeblurDataset needs it. Folder or LMDB of the blurred or small images.',
        ),
        ('datasets.val.io_backend.typ', 'disk', "unknown key for PairedDeblurDataset (did you mean 'type'?)."),
        ('train.grad_clipp', 1, "unknown key for DeblurModel (did you mean 'grad_clip'?)."),
        ('train.amp', 'float16', 'float16 is refused. The spectra in the network are sums over whole images'),
        ('val.best', 'psnrr', "'psnrr' is not in val.metrics (psnr) (did you mean 'psnr'?)."),
        ('datasets.val.protocol', 'go_pro', "there is no protocol 'go_pro' (did you mean 'gopro'?)."),
        ('scale', 2, 'blurred and sharp images of datasets.train have the same size: write 1.'),
        ('path.strict_load_g', False, 'expected true, got false.'),
        ('train.ema_decay', 1, 'expected a number of at least 0 and below 1, got 1.'),
        ('train.scheduler', {'T_max': 2}, 'train.scheduler.T_max: 2 is less than train.total_iter: 3'),
        ('train.scheduler', {'eta_mi': 0}, 'train.scheduler.eta_mi: unknown key for CosineAnnealingLR'),
        ('train.scheduler', {'type': 'Cosine'}, 'expected one of CosineAnnealingLR, MultiStepLR'),
        ('train.fft_opt.reduction', 1, 'expected none or mean or sum, got 1.'),
        ('train.fft_opt.reduction', 'men', "expected none or mean or sum, got 'men'."),
        ('val.metric', {}, "val.metric: unknown key for DeblurModel (did you mean 'metrics'?)."),
        ('logger.save_freq', 1, 'unknown key for DeblurModel (did you mean'),
    ],
)
def test_a_part_of_ours(ours, key, value, message):
    change(ours, key, value)
    assert len(found := mistakes(ours)) == 1
    assert found[0].startswith(key)
    assert message in found[0]


@pytest.mark.parametrize('template', ['{}', '{}_blur', 'x{}', '{0}', '{{{}}}', '{!s}', 'sub/{}'])
def test_templates_that_name_files(ours, template):
    ours['datasets']['train']['filename_tmpl'] = template
    assert mistakes(ours) == []


def test_one_channel_needs_images_of_one_channel(ours, stock):
    ours['network_g'] = {'type': 'ATD', 'upscale': 1, 'in_channels': 1}
    assert [line for line in mistakes(ours) if 'have 3 channels' in line] == [
        'network_g.in_channels: in_channels: 1, but the images of datasets.train have 3 channels. Write 3, or take '
        'another data set. For one channel: type: PairedImageDataset, with color: y.'
    ]
    for data in stock['datasets'].values():
        data['color'] = 'y'
    stock['network_g'].update(num_in_ch=1, num_out_ch=1)
    assert mistakes(stock) == []
    stock['network_g']['num_in_ch'] = 3
    assert 'num_in_ch: 3, but the images of datasets.train have 1 channels' in mistakes(stock)[0]


def test_metrics_that_compare_need_sharp_images(ours):
    ours['datasets']['val'] = {'name': 'own', 'type': 'SingleImageDataset', 'dataroot_lq': '.'}
    ours['val']['metrics'] = {'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}
    assert mistakes(ours) == []
    ours['val']['metrics']['psnr'] = {'type': 'calculate_psnr', 'crop_border': 0}
    assert mistakes(ours) == [
        'val.metrics.psnr: calculate_psnr compares with sharp images, and datasets.val has none. Remove it.'
    ]


def test_home_folder_in_the_paths_of_every_data_set(ours, stock, monkeypatch):
    monkeypatch.setenv('HOME', str(Path.cwd()))
    Path('list.txt').write_text('000.png\n')
    for options in (ours, stock):
        options['datasets']['val']['meta_info_file'] = '~/list.txt'
        Path('run.yml').write_text(yaml.safe_dump(options))
        read = read_checked('run.yml', is_train=True)
        assert read.options['datasets']['val']['meta_info_file'] == str(Path('list.txt').absolute())
    ours['datasets']['val']['meta_info_file'] = '~/nowhere.txt'
    assert 'there is no file' in mistakes(ours)[0]


def test_a_network_of_ours_looks_at_its_arguments(ours):
    ours['network_g'] = {'type': 'DeepRFTv2', 'width': 4, 'num_blocks': [1, 1], 'block_types': [['naf', 'naf']]}
    assert mistakes(ours) == []
    assert mistakes({**ours, 'network_g': {**ours['network_g'], 'tile': 'all'}}) == [
        "network_g.tile: expected a whole number or auto or ~, got 'all'."
    ]
    (line,) = mistakes({**ours, 'network_g': {**ours['network_g'], 'num_blocks': [1, 1, 1]}})
    assert line.startswith('network_g: block_types needs one list per scale')


def test_published_argument_names_are_told_once(ours):
    ours['network_g'] = {'type': 'ATD', 'upscale': 1, 'embed_dim': 48, 'num_heads': [4, 4], 'img_range': 1.0, 'xyz': 1}
    assert mistakes(ours) == [
        'network_g: these are the argument names of the published ATD. Here embed_dim is width, num_heads is heads '
        '(one number); remove img_range.',
        *[line for line in mistakes(ours) if line.startswith('network_g.xyz: unknown key for ATD.')],
    ]
    assert len(mistakes(ours)) == 2


def test_checkpoint_that_the_run_itself_would_move_away(ours):
    file = Path('experiments', 'run', 'models', 'net.pth')
    file.parent.mkdir(parents=True)
    file.touch()
    ours['path']['pretrain_network_g'] = str(file)
    assert 'the run would move it away' in mistakes(ours)[0]
    ours['path']['pretrain_network_g'] = f'{file.parent}/../../run/models/net.pth'
    assert 'the run would move it away' in mistakes(ours)[0]
    ours['name'] = 'ru'
    assert mistakes(ours) == []
    ours['name'] = 'run'
    Path('run.yml').write_text(yaml.safe_dump(ours))
    read_checked('run.yml', is_train=True, auto_resume=True)


def test_a_misspelt_crop_is_not_missing_too(ours):
    ours['datasets']['train']['gt_sise'] = ours['datasets']['train'].pop('gt_size')
    assert mistakes(ours) == ["datasets.train.gt_sise: unknown key for PairedDeblurDataset (did you mean 'gt_size'?)."]


def test_a_misspelt_class_is_judged_as_what_was_meant(ours):
    """Else its own mistakes would only be told once its name is right."""
    ours['model_type'] = 'DeblurModle'
    ours['train'] |= {'grad_clipp': 1, 'amp': 'float16', 'accumulate': 2, 'stages': [{'gt_size': 8}]}
    ours['network_g'] |= {'type': 'EDSRR', 'num_feet': 4}
    ours['datasets']['val'] |= {'type': 'PairedDeblurDatset', 'use_flip': True}
    told = mistakes(ours)
    for key in ('model_type', 'train.grad_clipp', 'train.amp', 'train.accumulate', 'train.stages.0.iterations'):
        assert sum(line.startswith(f'{key}: ') for line in told) == 1, key
    for key in ('network_g.type', 'network_g.num_feet', 'datasets.val.type', 'datasets.val.use_flip'):
        assert sum(line.startswith(f'{key}: ') for line in told) == 1, key


def test_another_name_is_not_taken_for_a_misspelt_one(stock):
    stock['network_g'] = {'type': 'EDVRLight', 'depth': 4}
    assert [line.split(':')[0] for line in mistakes(stock)] == ['network_g.type']


def test_no_loss(ours):
    del ours['train']['pixel_opt'], ours['train']['fft_opt']
    assert mistakes(ours) == ['train: no loss is given. Add one of pixel_opt, fft_opt, perceptual_opt.']


def test_periods_that_end_before_the_training(stock):
    stock['train']['scheduler'] = COSINE
    assert mistakes(stock) == ['train.scheduler.periods: they add up to 2 iterations, but train.total_iter is 4.']


def staged(options: dict[str, Any], *stages: tuple[int, int, int]) -> dict[str, Any]:
    keys = ('gt_size', 'total_batch', 'iterations')
    options['train']['stages'] = [dict(zip(keys, stage, strict=True)) for stage in stages]
    options['datasets']['train'].pop('gt_size', None)
    return options


def test_stages(ours, monkeypatch):
    assert mistakes(staged(ours, (16, 4, 2), (32, 2, 1))) == []
    monkeypatch.setenv('WORLD_SIZE', '4')
    assert mistakes(staged(ours, (16, 4, 2), (32, 2, 3)), launcher='pytorch') == [
        'train.stages: their iterations add up to 5, but train.total_iter is 3.',
        'train.stages.1.total_batch: 2 images do not divide among 4 processes. Choose a multiple of 4, or a number of '
        'processes that divides 2.',
    ]
    ours['train']['stages'][0].pop('total_batch')
    ours['train']['stages'][1]['iteration'] = 1
    assert mistakes(ours, launcher='pytorch') == [
        'train.stages.0.total_batch: missing, but DeblurModel needs it. Images per step, of all processes together.',
        "train.stages.1.iteration: unknown key for DeblurModel (did you mean 'iterations'?).",
    ]


def test_stages_beside_what_they_replace(ours):
    ours = staged(ours, (16, 4, 3))
    ours['datasets']['train']['gt_size'] = 16
    assert sorted(mistakes({**ours, 'train': {**ours['train'], 'accumulate': 2}, 'manual_sed': 1})) == [
        'datasets.train.gt_size: the crop is that of train.stages. Remove it.',
        "manual_sed: unknown key for DeblurModel (did you mean 'manual_seed'?).",
        'train.accumulate: with train.stages it follows from total_batch. Remove it.',
    ]
    (line,) = mistakes({**staged(ours), 'manual_seed': 0})
    assert line.startswith('train.stages: expected a list of {gt_size: ..., total_batch: ..., iterations: ...}, got []')


def test_a_test_needs_less_and_more(tmp_path):
    options = stock_options(tmp_path, tmp_path, 'test')
    del options['val']['suffix']
    assert mistakes(options, kind='test') == ['val.suffix: missing. It may be empty: ~.']
    del options['val']['save_img']
    assert mistakes(options, kind='test') == [
        'val.save_img: missing. Write the restored images, as PNG files of 8 bits.'
    ]
    options['val'] = None
    assert mistakes(options, kind='test') == [
        'val: missing. How to validate, and how to test: with `save_img` at least.'
    ]


def test_a_missing_key_under_another_name(stock):
    stock['gpus'] = stock.pop('num_gpu')
    stock['names'] = stock.pop('name')
    assert mistakes(stock) == [
        'num_gpu: missing. `auto` for all GPUs, 0 for the CPU.',
        "names: unknown key (did you mean 'name'?).",
    ]


def test_processes_that_do_not_know_of_each_other(stock, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert mistakes(stock) == ['2 processes were started for one run: add --launcher pytorch.']


def test_tensorboard_is_missing(stock, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'tensorboard' else find(name))
    assert mistakes(stock)[0].startswith('logger.use_tb_logger: TensorBoard is not installed')


FOREIGN = """
name: foreign
model_type: BlindModel
num_gpu: 0
scale: 2
degradation: {kernel_range: 7}
datasets:
  train:
    name: REDS
    type: REDSDataset
    dataroot_gt: .
    dataroot_lq: .
    meta_info_file: list.txt
    val_partition: REDS4
    test_mode: false
    num_frame: 15
    gt_size: 256
    interval_list: [1]
    use_shuffle: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 4
network_g: {type: BasicVSR, num_feat: 8, num_block: 1, spynet_path: elsewhere.pth}
network_d: {type: VGGStyleDiscriminator, num_in_ch: 3, num_feat: 64}
path: {pretrain_network_d: ~, ignore_resume_networks: network_d, vocabulary: words.txt}
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 2e-4, weight_decay: 0, betas: [0.9, 0.99]}
  optim_d: {type: Adam, lr: !!float 1e-4}
  scheduler: {type: CosineAnnealingRestartLR, periods: [300000], restart_weights: [1], eta_min: !!float 1e-7}
  total_iter: !!float 3e5
  fix_flow: 5000
  stages: 3
  blur_opt: {strength: 2}
  gan_opt: {type: GANLoss, gan_type: vanilla, real_label_val: 1.0, fake_label_val: 0.0, loss_weight: !!float 5e-3}
logger: {print_freq: 100, save_checkpoint_freq: !!float 5e3, use_tb_logger: true, wandb: {project: ~, resume_id: ~}}
dist_params: {backend: nccl, port: 29500}
find_unused_parameters: true
"""


def test_parts_of_other_plugins_are_not_judged():
    """Options as those of BasicSR's video networks, with a model of someone else that reads keys of its own."""
    from basicsr.models.sr_model import SRModel
    from basicsr.utils.registry import MODEL_REGISTRY

    Path('list.txt').write_text('000 100 (720,1280,3)\n')
    if 'BlindModel' not in MODEL_REGISTRY:
        MODEL_REGISTRY.register(type('BlindModel', (SRModel,), {'__module__': 'elsewhere'}))
    assert mistakes(FOREIGN, dynamic=True) == []
    assert mistakes(FOREIGN, 'path.pretrain_network_d=elsewhere.pth', 'network_d.num_feats=3', dynamic=True) == [
        "network_d.num_feats: unknown key for VGGStyleDiscriminator (did you mean 'num_feat'?).",
        f'path.pretrain_network_d: there is no file {Path.cwd()}/elsewhere.pth.',
    ]


@pytest.mark.parametrize('file', sorted((ROOT / 'options').rglob('*.yml')), ids=lambda file: file.stem)
def test_our_option_files(file):
    """Nothing is wrong with them but data and checkpoints that are not here yet, which are put there."""
    options = yaml.safe_load(file.read_text())
    for data in options['datasets'].values():
        for key in [key for key in data if key.startswith('dataroot')]:
            Path(data[key]).mkdir(parents=True, exist_ok=True)
        if data.get('meta_info_file'):
            Path(data['meta_info_file']).parent.mkdir(parents=True, exist_ok=True)
            Path(data['meta_info_file']).touch()
    for key, value in options['path'].items():
        if value and key.startswith(('pretrain_network', 'resume_state')):
            Path(value).parent.mkdir(parents=True, exist_ok=True)
            Path(value).touch()
    try:
        read_checked(file, is_train='train' in options)
    except OptionsError as error:
        pytest.fail(str(error))


def test_everything_at_once_as_the_user_sees_it(ours, tmp_path):
    ours['model_type'] = 'DeblurModle'
    change(ours, 'train.pixel_opt.loss_wait', 2)
    change(ours, 'datasets.train.use_flip', True)
    change(ours, 'datasets.val.dataroot_gt', 'nowhere')
    text = yaml.safe_dump(ours, sort_keys=False).replace('loss_weight: 0.01', 'loss_weight: 1e-2')
    Path('run.yml').write_text(text)
    done = python('-m', 'deeprftv2_arch.train', '-opt', 'run.yml', '--set', 'nam=x', folder=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    at = {
        key: next(n for n, line in enumerate(text.splitlines(), 1) if line.strip().startswith(key))
        for key in ('model_type:', 'use_flip:', 'dataroot_gt: nowhere', 'loss_wait:', 'loss_weight:')
    }
    starts = [
        "Error: --set nam=x: nam: unknown key for DeblurModel (did you mean 'name'?).",
        f"Error: run.yml:{at['model_type:']}: model_type: nothing is registered under the name 'DeblurModle'",
        f'Error: run.yml:{at["use_flip:"]}: datasets.train.use_flip: unknown key for PairedDeblurDataset (did you mean',
        f'Error: run.yml:{at["dataroot_gt: nowhere"]}: datasets.val.dataroot_gt: there is no folder {tmp_path}/',
        f'Error: run.yml:{at["loss_wait:"]}: train.pixel_opt.loss_wait: unknown key for L1Loss (did you mean',
        f'Error: run.yml:{at["loss_weight:"]}: train.fft_opt.loss_weight: YAML takes 1e-2 for text. Write 1.0e-02',
    ]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    assert {path.name for path in tmp_path.iterdir()} == {'run.yml', 'set'}
    assert not torch.cuda.is_initialized()


@pytest.mark.parametrize(
    'name', ['', ' ', '.', '..', 'group/exp1', '/tmp/run', '../run', 'a\\b', 'run ', 'run.', 'a\nb']
)
@pytest.mark.parametrize('key', ['name', 'datasets.val.name'])
def test_a_name_is_that_of_one_folder(ours, key, name):
    change(ours, key, name)
    (line,) = mistakes(ours)
    assert line.startswith(f'{key}: ')
    assert 'Choose a name such as gopro_1.' in line or 'missing' in line


@pytest.mark.parametrize('name', ['GoPro v2 (final)', '.hidden', 'Müller', 'x2+x4', '2026-01-01 10:00', 'a' * 200])
def test_odd_names_of_folders(ours, name):
    change(ours, 'name', name)
    assert mistakes(ours) == []


def test_a_name_that_is_too_long(ours):
    change(ours, 'name', 'ü' * 101)
    assert 'has more than the 200 bytes' in mistakes(ours)[0]


@pytest.mark.parametrize(('name', 'is_right'), [('train', False), ('train_2', False), ('x', False), ('val', True)])
def test_data_sets_of_a_test(tmp_path, name, is_right):
    options = stock_options(tmp_path, tmp_path, 'test')
    options['datasets'][name] = options['datasets'].pop('test_1')
    refusal = f'datasets.{name}: to test, a data set is called test or test_something.'
    assert mistakes(options, kind='test') == ([] if is_right else [refusal])


def test_two_data_sets_of_one_name(ours, monkeypatch):
    ours['datasets']['val_2'] = dict(ours['datasets']['val'])
    refusal = (
        "datasets.val_2.name: datasets.val is called 'Photos' too, and their results could not be told apart. Rename "
        'one.'
    )
    assert mistakes(ours) == [refusal]
    ours['datasets'] = {f'test_{number}': ours['datasets'][key] for number, key in enumerate(('val', 'val_2'))}
    assert len(mistakes(ours, kind='test')) == 1
    ours['datasets']['test_1']['name'] = 'photos'
    monkeypatch.setattr('sys.platform', 'linux')
    assert mistakes(ours, kind='test') == []
    monkeypatch.setattr('sys.platform', 'darwin')
    assert len(mistakes(ours, kind='test')) == 1


def test_the_training_set_may_share_the_name_of_another(ours):
    assert ours['datasets']['train']['name'] == ours['datasets']['val']['name']
    assert mistakes(ours) == []


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('optim_g.lr', float('inf'), 'expected a number of at least 0, got .inf.'),
        ('optim_g.lr', float('nan'), 'expected a number of at least 0, got .nan.'),
        ('optim_g.lr', -1, 'expected a number of at least 0, got -1.'),
        ('optim_g.betas', [1.9, 0.9], 'expected a list'),
        ('optim_g.betas', 0.9, 'expected a list'),
        ('optim_g.weight_decay', -0.1, 'expected a number of at least 0, got -0.1.'),
        ('scheduler.milestones', 3, 'expected a list (a number each), got 3.'),
        ('scheduler.gamma', 'half', 'expected a number'),
    ],
)
def test_what_optimizers_and_schedules_look_at_late(stock, key, value, message):
    change(stock, f'train.{key}', value)
    (line,) = mistakes(stock)
    assert line.startswith(f'train.{key}: {message}')


def test_what_basicsr_takes_too(stock):
    change(stock, 'path.strict_load_g', None)
    change(stock, 'datasets.train.dataset_enlarge_ratio', 1.5)
    assert mistakes(stock) == []
    change(stock, 'datasets.train.dataset_enlarge_ratio', 0)
    assert len(mistakes(stock)) == 1


def test_only_validations_of_basicsr_need_a_suffix(tmp_path, monkeypatch):
    options = stock_options(tmp_path, tmp_path, 'test')
    del options['val']['suffix']
    assert len(mistakes(options, kind='test')) == 1

    class OwnValidation(SRModel):
        def nondist_validation(self, *_):
            pass

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'OwnValidation', OwnValidation)
    options['model_type'] = 'OwnValidation'
    assert mistakes(options, kind='test', dynamic=True) == []


def test_best_weights_need_a_validation(ours):
    ours['val']['best'] = 'psnr'
    assert mistakes(ours) == []
    del ours['datasets']['val']
    assert mistakes(ours) == ['val.best: there is no data set to validate on. Add datasets.val, or remove the key.']


def test_wandb_is_missing(stock, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'wandb' else find(name))
    stock['logger'] |= {'use_tb_logger': False, 'wandb': {'project': None}}
    assert mistakes(stock) == []
    stock['logger']['wandb']['project'] = 'deblur'
    found = mistakes(stock)
    assert found[0].startswith('logger.use_tb_logger: Weights & Biases uploads what TensorBoard writes')
    assert found[1].startswith('logger.wandb.project: Weights & Biases is not installed.')


def test_a_warmup_that_outlasts_the_training_is_told(ours):
    Path('run.yml').write_text(yaml.safe_dump(ours))
    assert read_checked('run.yml', is_train=True).warnings == []
    (warning,) = read_checked('run.yml', is_train=True, settings=['train.warmup_iter=1000']).warnings
    assert str(warning) == (
        '--set train.warmup_iter=1000: train.warmup_iter: the training ends at train.total_iter: 3, before the '
        'learning rate is reached.'
    )


def test_crops_that_no_window_fits_into_are_told(ours):
    ours['network_g'] = {'type': 'SwinIR', 'upscale': 1, 'window_size': 8, 'upsampler': ''}
    Path('run.yml').write_text(yaml.safe_dump(ours))
    assert read_checked('run.yml', is_train=True, settings=['datasets.train.gt_size=24']).warnings == []
    (warning,) = read_checked('run.yml', is_train=True, settings=['datasets.train.gt_size=20']).warnings
    assert str(warning).endswith(
        'datasets.train.gt_size: crops of 20 pixels for a network with window_size: 8. Unless it pads them by itself, '
        'write a multiple of 8.'
    )
