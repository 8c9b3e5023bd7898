"""Every key of an option file that this package reads or checks: the checks and `docs/options.md` are made from here.

A key that a class of ours reads must stand here, or the class refuses it: add a `Key` to the section of that class,
then `deeprftv2 options > docs/options.md`. The arguments of networks, losses and metrics are not here:
they are read off the signatures of those classes and functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from deeprftv2_arch.config.keys import File, Folder, Iterations, Key, Section

Size = int | tuple[int, int]
Part = Mapping[str, Any]

NAME_AND_TYPE = (
    Key('name', str, 'Name in logs and in the folders of results.', needed='always'),
    Key('type', str, 'Class that reads the data, as registered.', needed='always'),
)
LOADER = (
    Key('num_worker_per_gpu', int, 'Processes that read data, for each training process.', needed='train', at_least=0),
    Key('batch_size_per_gpu', int, 'Images that a process takes at a time.', needed='train', at_least=1),
    Key('dataset_enlarge_ratio', int, 'Times that the data are passed in what counts as an epoch.', 1, at_least=1),
    Key('prefetch_mode', Literal['cpu', 'cuda'] | None, 'Where batches are made ready ahead of time.', None),
    Key('num_prefetch_queue', int, 'Batches that `prefetch_mode: cpu` holds ready.', 1, at_least=1),
    Key('pin_memory', bool, 'Page-locked memory; `prefetch_mode: cuda` needs it.', False),
    Key('persistent_workers', bool, 'Keep the reading processes from epoch to epoch.', False),
    Key('use_shuffle', bool, 'Taken for the sake of older option files. Training always shuffles.', True),
)
FOREIGN_DATASET = Section(
    'datasets.NAME',
    NAME_AND_TYPE + LOADER,
    'The names are `train` and `val` or `val_*` to train, `test` or `test_*` to test. These keys are read whatever the '
    '`type`; a data set of BasicSR or of another plugin reads more, which are not judged.',
    unknown='allowed',
)
IO_BACKEND = Section(
    'datasets.NAME.io_backend',
    (
        Key('type', Literal['disk', 'lmdb'], 'Folders of images, or LMDBs.', 'disk', needed='always'),
        Key('readahead', bool, 'Let the system read ahead in an LMDB; it helps where that fits in memory.', False),
    ),
)
GROUPS = Section(
    'datasets.NAME.groups', (Key('*', File, 'List of the images of the group `*`, a line each.'),), reader='DeblurModel'
)
PAIRS = (
    *NAME_AND_TYPE,
    Key('dataroot_gt', Folder, 'Folder or LMDB of the sharp or large images.', needed='always'),
    Key('dataroot_lq', Folder, 'Folder or LMDB of the blurred or small images.', needed='always'),
    Key('io_backend', Part | None, 'How the images are stored.', section=IO_BACKEND),
    Key('recursive', bool, 'Take images of sub-folders too.', False),
    Key('meta_info_file', File | None, 'List of pairs, a line each: a name below each root.', None),
    Key('filename_tmpl', str, "Stem of the second image of a pair, made from the first one's.", '{}'),
    Key('bit_depth', Literal[8, 16] | None, '8: read every file with 8 bits. 16: refuse other depths.', None),
    Key('allow_gamma', bool, 'Take blurred images from a folder `blur_gamma`.', False),
    Key('scale', int, 'Copied from the top of the option file.', at_least=1),
    Key('gt_size', Size, 'Training crop in pixels: one number or `[height, width]`.', at_least=1),
    Key('augmentation', Literal[0, 4, 8], '8: all symmetries of the square. 4: those that keep the size. 0: none.', 8),
    Key('use_hflip', bool, 'Mirror left and right; in the place of `augmentation`.', True),
    Key('use_rot', bool, 'Mirror top and bottom, transpose; in the place of `augmentation`.', True),
    Key('protocol', str | None, 'Published protocol that a test follows.', None),
    Key('groups', Part | None, 'Images whose mean is shown too, by a name of your choice.', None, section=GROUPS),
)
PAIRED_DEBLUR_DATASET = Section(
    'datasets.NAME',
    (
        *PAIRS,
        Key('pad_to', Size, 'Bring smaller images to `[height, width]` by zeros below and right.', at_least=1),
        *LOADER,
    ),
    'Blurred and sharp images of equal size.',
    reader='PairedDeblurDataset',
)
PAIRED_SR_DATASET = Section(
    'datasets.NAME', (*PAIRS, *LOADER), 'Small and large images, for super-resolution.', reader='PairedSRDataset'
)
DATASETS = {section.reader: section for section in (PAIRED_DEBLUR_DATASET, PAIRED_SR_DATASET)}
"""Sections of our data sets, by the name of the class."""

BASICSR_PATH = (
    Key('pretrain_network_*', File | None, 'Checkpoint to start from, or to test: `pretrain_network_g`.', None),
    Key('param_key_*', str | None, 'Key of the weights in that file; ~ for a bare state dict.', 'params'),
    Key('resume_state', File | None, 'Training state to go on from.', None),
    Key(
        'ignore_resume_networks', list[str] | str | None, 'Networks that a resumed training takes from elsewhere.', None
    ),
)
FOREIGN_PATH = Section(
    'path',
    (*BASICSR_PATH, Key('strict_load_*', bool, 'Whether the weights must fit the network.', True)),
    'Paths count from the current folder.',
    unknown='wrong if like a known one',
)
DEBLUR_PATH = Section(
    'path',
    (
        *BASICSR_PATH,
        Key('strict_load_except_g', list[str] | None, 'Parts of the network that keep their own weights.', None),
        Key('strict_load_*', Literal[True], 'Weights are only loaded whole.', True),
    ),
    'Paths count from the current folder.',
    reader='DeblurModel',
)
OPTIMIZERS = ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop', 'Rprop')
"""Classes of `torch.optim` that an option file may name: those of BasicSR's master."""

SCHEDULER = Section(
    'train.scheduler',
    (
        Key('type', str, 'This, or a schedule of BasicSR with its arguments.', 'CosineAnnealingLR'),
        Key('T_max', Iterations, 'Iteration at which the curve ends; by default `total_iter`.', at_least=1),
        Key('eta_min', float, 'Learning rate at the end.', 1e-7, at_least=0),
    ),
    'The curve is computed from the iteration alone, so a resumed training stays on it.',
    reader='CosineAnnealingLR',
)
BASICSR_TRAIN = (
    Key('total_iter', Iterations, 'Iterations of the whole training.', needed='train', at_least=1),
    Key('warmup_iter', Iterations, 'Iterations with a growing learning rate; -1 for none.', -1, at_least=-1),
)
FOREIGN_TRAIN = Section(
    'train', BASICSR_TRAIN, 'Of all models. A model of BasicSR reads more, not judged here.', unknown='allowed'
)
PRECISION = (
    Key('amp', str | None, '`bfloat16`: mixed precision. ~: float32.', None),
    Key('tf32', bool | None, "TF32 in products and convolutions on NVIDIA GPUs; ~ for torch's own setting.", None),
    Key('channels_last', bool, 'Weights and images channels-last in memory; for networks other than ours.', False),
    Key('compile', bool, 'torch.compile: minutes at the start, faster iterations.', False),
)
STAGE = Section(
    'train.stages[N]',
    (
        Key('gt_size', Size, 'Training crop in pixels: one number or `[height, width]`.', needed='always', at_least=1),
        Key('total_batch', int, 'Images per step, of all processes together.', needed='always', at_least=1),
        Key('iterations', Iterations, 'Length of the stage.', needed='always', at_least=1),
    ),
    'Their iterations add up to `total_iter`. `batch_size_per_gpu` is the most that a process takes at a time: '
    'gradients are accumulated until `total_batch` is reached.',
    reader='DeblurModel',
)
DEBLUR_TRAIN = Section(
    'train',
    (
        *BASICSR_TRAIN,
        Key('stages', list[Part] | None, 'Progressive training: one stage after the other.', None, section=STAGE),
        Key('accumulate', int | None, 'Batches per step of the optimizer, where there are no stages.', 1, at_least=1),
        Key('optim_g', Part | None, '`type`: a class of `torch.optim`; the other keys are its arguments.'),
        Key('scheduler', Part | None, 'Learning rate over time.'),
        Key('grad_clip', float, 'Largest 2-norm of the whole gradient; 0 for no limit.', 0.01, at_least=0),
        Key('max_bad_steps', int, 'Steps in a row that may be skipped for a loss that is not finite.', 10, at_least=1),
        Key('ema_decay', float, 'Decay of the running mean of the weights; 0 for none.', 0, at_least=0, below=1),
        Key('pixel_opt', Part | None, 'Loss on pixels: `type` and arguments. At least one loss is needed.', None),
        Key('fft_opt', Part | None, 'Loss on frequencies.', None),
        Key('perceptual_opt', Part | None, 'Loss on features of a network.', None),
        *PRECISION,
    ),
    reader='DeblurModel',
)
METRIC = Section(
    'val.metrics.NAME',
    (
        Key('type', str, 'A registered function. The other keys are its arguments.', needed='always'),
        Key('better', Literal['higher', 'lower'], 'Which values are better; by default what the metric says itself.'),
    ),
    unknown='allowed',
)
VAL_KEYS = (
    Key('val_freq', Iterations, 'Iterations between validations.', needed='train', at_least=1),
    Key('save_img', bool, 'Write the restored images.', needed='always'),
    Key('suffix', str | None, 'Ending of their names; ~ for the name of the run.', None),
    Key('pbar', bool, 'Progress bar over the images.', False),
    Key('metrics', Part | None, 'Scores, by a name of your choice.', None),
)
FOREIGN_VAL = Section('val', VAL_KEYS, unknown='allowed')
DEBLUR_VAL = Section(
    'val',
    (
        *VAL_KEYS,
        Key('best', str | None, 'Name out of `metrics`: the weights with its best value are kept.', None),
        Key('patience', int | None, 'End after so many validations without a better `best`.', None, at_least=1),
        Key('pictures', int, 'Images of each data set that are shown side by side in training.', 3, at_least=0),
        *PRECISION,
    ),
    'Absent: no validation.',
    reader='DeblurModel',
)
LOGGER_KEYS = (
    Key('print_freq', Iterations, 'Iterations between lines of the log.', needed='train', at_least=1),
    Key('save_checkpoint_freq', Iterations, 'Iterations between checkpoints.', needed='train', at_least=1),
    Key('use_tb_logger', bool, 'Write TensorBoard files.', needed='train'),
    Key(
        'wandb',
        Part | None,
        'Weights & Biases.',
        None,
        section=Section(
            'logger.wandb',
            (
                Key('project', str | None, 'Name of the project; ~ for no upload.', None),
                Key('resume_id', str | None, 'Run to go on with.', None),
            ),
        ),
    ),
)
FOREIGN_LOGGER = Section('logger', LOGGER_KEYS, unknown='wrong if like a known one')
DEBLUR_LOGGER = Section(
    'logger',
    (
        *LOGGER_KEYS,
        Key('pbar', bool | None, 'Progress bar over the training; ~ for where there is a terminal.', None),
        Key(
            'keep_checkpoints',
            int | None,
            'How many numbered checkpoints stay, the newest; ~ for all.',
            None,
            at_least=1,
        ),
    ),
    reader='DeblurModel',
)
DIST_PARAMS = Section(
    'dist_params',
    (
        Key('backend', str, 'Of torch.distributed. Without a GPU gloo is taken.', 'nccl'),
        Key('port', int, 'Port at which the processes of Slurm meet.', 29500, at_least=1, below=65536),
    ),
)
TOP_KEYS = (
    Key('name', str, 'Name of the run, and of its folder in `experiments` or `results`.', needed='always'),
    Key('model_type', str, 'Class that trains and tests, as registered.', needed='always'),
    Key('num_gpu', int | Literal['auto'], '`auto` for all GPUs, 0 for the CPU.', needed='always', at_least=0),
    Key('manual_seed', int | None, 'Seed of all random numbers; by default one is drawn.', None, at_least=0),
    Key('scale', int, 'Factor of super-resolution. 1 or absent to deblur.', at_least=1),
    Key('datasets', Part, 'Data sets by name.', needed='always'),
    Key('network_*', Part, '`type`: a registered network; the other keys are its arguments.'),
    Key('path', Part, 'Files to start from.', needed='always'),
    Key('train', Part, 'How to train.', needed='train'),
    Key('val', Part | None, 'How to validate, and how to test.', needed='test'),
    Key('logger', Part, 'What to log and when to save.', needed='train'),
    Key('dist_params', Part, 'How processes meet, for `--launcher slurm`.', section=DIST_PARAMS),
    Key('find_unused_parameters', bool, 'For networks of which a part takes no gradient.', False),
)
ANY_MODEL = {
    '': Section('', TOP_KEYS, unknown='wrong if like a known one'),
    'path': FOREIGN_PATH,
    'train': FOREIGN_TRAIN,
    'val': FOREIGN_VAL,
    'logger': FOREIGN_LOGGER,
}
"""Sections that the launchers and BasicSR's scripts read, whatever the model."""

MODELS = {
    'DeblurModel': {
        '': Section('', TOP_KEYS, reader='DeblurModel'),
        'path': DEBLUR_PATH,
        'train': DEBLUR_TRAIN,
        'val': DEBLUR_VAL,
        'logger': DEBLUR_LOGGER,
    }
}
"""The same for our models, by the name of the class: they know all that is read."""

COMMON_ARGUMENTS = {
    'crop_border': 'Pixels left out at every edge.',
    'trunk': "File with the weights of torchvision's AlexNet; by default it is downloaded.",
}
"""Meaning of arguments that docstrings leave out, being the same in many functions."""

COMPUTED = (
    *('is_train', 'dist', 'rank', 'world_size', 'root_path', 'auto_resume', 'phase'),
    *('models', 'training_states', 'log', 'visualization', 'experiments_root', 'results_root'),
)
"""Keys that BasicSR adds while it starts."""
