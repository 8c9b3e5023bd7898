"""Every key of an option file that this package reads or checks: type, range, default and meaning, once.

From here come the check of option files, the typed values that models and data sets work with, the reference
`docs/options.md` and the JSON schema for editors. After a change: ``deeprftv2 options > docs/options.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from deeprftv2_arch.config.options import Options, nested, option
from deeprftv2_arch.config.protocols import PROTOCOLS
from deeprftv2_arch.config.value_types import (
    File,
    Finite,
    Folder,
    FolderName,
    Iterations,
    Keys,
    Natural,
    NonNegative,
    Positive,
    Size,
    Template,
    Text,
)
from deeprftv2_arch.utils.suggest import nearest

OPTIMIZERS = ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop', 'Rprop')
"""Classes of `torch.optim` that an option file may name: those of BasicSR's master."""


# Data sets


class DatasetOptions(Options, extra='allow'):
    """The names are `train` and `val` or `val_*` to train, `test` or `test_*` to test; a test takes those of `val` too,
    and no two of it have one `name`. These keys are read whatever the
    `type`; a data set of BasicSR or of another plugin reads more, which are not judged.
    """

    similarity: ClassVar[float] = 2
    name: FolderName | None = option('Name in logs, and of its folder in results.', needed='run', may_change=True)
    type: str = option('Class that reads the data, as registered.', '', needed='run')
    num_worker_per_gpu: Natural | None = option(
        'Processes that read data, for each training process.', needed='train', may_change=True
    )
    batch_size_per_gpu: Positive | None = option(
        'Images that a process takes at a time.', needed='train', may_change=True
    )
    dataset_enlarge_ratio: Annotated[float, Field(gt=0, lt=math.inf)] = option(
        'Times that the data are passed in what counts as an epoch.', 1, may_change=True
    )
    prefetch_mode: Literal['cpu', 'cuda'] | None = option(
        'Where batches are made ready ahead of time.', may_change=True
    )
    num_prefetch_queue: Positive = option('Batches that `prefetch_mode: cpu` holds ready.', 1, may_change=True)
    pin_memory: bool = option('Page-locked memory; `prefetch_mode: cuda` needs it.', False, may_change=True)
    persistent_workers: bool = option('Keep the reading processes from epoch to epoch.', False, may_change=True)
    use_shuffle: bool = option('Accepted for compatibility; ignored. Training always shuffles.', True, may_change=True)


class IoBackend(Options):
    type: Literal['disk', 'lmdb'] = option('Folders of images, or LMDBs.', 'disk')
    readahead: bool = option('Let the system read ahead in an LMDB; it helps where that fits in memory.', False)


class PairedOptions(DatasetOptions, extra='forbid'):
    """Pairs of two images."""

    similarity: ClassVar[float] = 0.6
    dataroot_gt: Folder = option('Folder or LMDB of the sharp or large images.', needed='always', may_change=True)
    dataroot_lq: Folder = option('Folder or LMDB of the blurred or small images.', needed='always', may_change=True)
    io_backend: IoBackend | None = option('How the images are stored.', may_change=True)
    recursive: bool = option('Take images of sub-folders too.', False, may_change=True)
    meta_info_file: File | None = option('List of pairs, a line each: a name below each root.', may_change=True)
    filename_tmpl: Template = option(
        "Stem of the second image of a pair, made from the first one's.", '{}', may_change=True
    )
    bit_depth: Literal[8, 16] | None = option(
        '8: read every file with 8 bits. 16: refuse other depths; restored images are written with 16 too.'
    )
    allow_gamma: bool = option('Take blurred images from a folder `blur_gamma`.', False)
    scale: Positive | None = option('Copied from the top of the option file.')
    gt_size: Size | None = option(
        'Training crop in pixels: one number or `[height, width]`; or give `train.stages`.', needed='unstaged'
    )
    augmentation: Literal[0, 4, 8] = option('8: all symmetries of the square. 4: those that keep the size. 0: none.', 8)
    use_hflip: bool = option('Mirror left and right; in the place of `augmentation`.', True)
    use_rot: bool = option('Mirror top and bottom, transpose; in the place of `augmentation`.', True)
    protocol: str | None = option('Published protocol that a test follows.', may_change=True)
    groups: dict[str, File] | None = option('Lists of images whose mean is shown too, by a name of your choice.')

    @field_validator('protocol')
    @classmethod
    def _is_published(cls, name: str | None) -> str | None:
        if name is not None and name not in PROTOCOLS:
            raise ValueError(f'there is no protocol {name!r}{nearest(name, PROTOCOLS)}. Known: {", ".join(PROTOCOLS)}.')
        return name

    @model_validator(mode='after')
    def _agree(self) -> PairedOptions:
        if 'augmentation' in self.model_fields_set and self.model_fields_set & {'use_hflip', 'use_rot'}:
            raise ValueError('augmentation says what use_hflip and use_rot say. Remove it, or both of them.')
        is_lmdb = self.io_backend is not None and self.io_backend.type == 'lmdb'
        if is_lmdb and (self.meta_info_file or self.filename_tmpl != '{}' or self.recursive):
            raise ValueError(
                'meta_info_file, filename_tmpl and recursive are for folders; the pairs of an LMDB have equal keys. '
                'Remove them.'
            )
        return self


class PairedDeblurOptions(PairedOptions):
    """Blurred and sharp images of equal size."""

    pad_to: Size | None = option('Bring smaller images to `[height, width]` by zeros below and right.')


class PairedSROptions(PairedOptions):
    """Small and large images, for super-resolution."""


# Sections that are read whatever the model


class PathOptions(Options, extra='allow'):
    """Paths count from the current folder."""

    similarity: ClassVar[float] = 0.7
    pretrain_network_g: File | None = option('Checkpoint to start from, or to test.')
    param_key_g: Text | None = option('Key of the weights in that file; ~ for a bare state dict.', 'params')
    resume_state: File | None = option('Training state to go on from.')
    ignore_resume_networks: list[str] | str | None = option('Networks that a resumed training takes from elsewhere.')
    strict_load_g: bool | None = option('Whether the weights must fit the network.', True)


class TrainOptions(Options, extra='allow'):
    """Of all models. A model of BasicSR reads more, not judged here."""

    similarity: ClassVar[float] = 2
    total_iter: Iterations = option('Iterations of the whole training.', needed='always', may_change=True)
    warmup_iter: Annotated[int, Field(ge=-1)] = option('Iterations with a growing learning rate; -1 for none.', -1)


class ValOptions(Options, extra='allow'):
    similarity: ClassVar[float] = 2
    val_freq: Iterations | None = option('Iterations between validations.', needed='train')
    save_img: bool = option('Write the restored images, as PNG files of 8 bits.', False, needed='run')
    suffix: str | None = option('Ending of their names; ~ for the name of the run.')
    pbar: bool = option('Progress bar over the images.', False)
    metrics: Keys | None = option('Metrics to measure, by a name of your choice.')


class MetricOptions(Options, extra='allow'):
    similarity: ClassVar[float] = 2
    type: str = option('A registered function. The other keys are its arguments.', needed='always')
    crop_border: Natural = option('Pixels left out at every edge, by metrics that have it.', 0)
    better: Literal['higher', 'lower'] = option('Which values are better; by default what the metric says itself.')


class WandbOptions(Options):
    project: str | None = option('Name of the project; ~ for no upload.')
    resume_id: str | None = option('Run to go on with.')


class LoggerOptions(Options, extra='allow'):
    similarity: ClassVar[float] = 0.7
    print_freq: Iterations | None = option('Iterations between lines of the log.', needed='train')
    save_checkpoint_freq: Iterations | None = option('Iterations between checkpoints.', needed='train')
    use_tb_logger: bool = option('Write TensorBoard files.', False, needed='train')
    wandb: WandbOptions | None = option('Weights & Biases.')


class DistOptions(Options):
    backend: str = option('Of torch.distributed. Without a GPU gloo is taken.', 'nccl')
    port: Annotated[int, Field(ge=1, lt=65536)] = option('Port at which the processes of Slurm meet.', 29500)


class RunOptions(Options, extra='allow'):
    """What the launchers and BasicSR's scripts read, whatever the model."""

    similarity: ClassVar[float] = 0.7
    name: FolderName | None = option('Name of the run, and of its folder in `experiments` or `results`.', needed='run')
    model_type: str = option('Class that trains and tests, as registered.', '', needed='run')
    num_gpu: Natural | Literal['auto'] = option('`auto` for all GPUs, 0 for the CPU.', 'auto', needed='run')
    manual_seed: Natural | None = option('Seed of all random numbers; by default one is drawn.')
    scale: Positive | None = option('Factor of super-resolution. 1 or absent to deblur.')
    datasets: Keys = option('Data sets by name.', {}, needed='run')
    network_g: Keys = option(
        '`type`: a registered network; the other keys are its arguments.',
        {},
        may_change=('tile', 'tile_overlap', 'reversible'),  # how it spends time and memory
    )
    path: PathOptions = option('Files to start from.', PathOptions(), needed='run')
    train: TrainOptions | None = option('How to train.', needed='train')
    val: ValOptions | None = option('How to validate, and how to test: with `save_img` at least.', needed='test')
    logger: LoggerOptions | None = option('What to log and when to save.', needed='train')
    dist_params: DistOptions | None = option('How processes meet, for `--launcher slurm`.')
    find_unused_parameters: bool = option('For networks of which a part takes no gradient.', False)


# DeblurModel


def _mixed_precision(value: Any) -> Any:
    if value in ('float16', 'fp16', 'half'):
        raise ValueError(
            f'{value} is refused. The spectra in the network are sums over whole images, which pass '
            "float16's largest number, 65,504. Write bfloat16, which has the range of float32."
        )
    return value


class PrecisionOptions(Options):
    """Number formats, memory layout and compilation; the same keys for training and for validation."""

    amp: Annotated[Literal['bfloat16'] | None, BeforeValidator(_mixed_precision)] = option(
        '`bfloat16`: mixed precision. ~: float32.'
    )
    tf32: bool | None = option(
        "TF32 in products and convolutions on NVIDIA GPUs; ~ for torch's own setting.", may_change=True
    )
    channels_last: bool = option(
        'Weights and images channels-last in memory; for networks other than ours.', False, may_change=True
    )
    compile: bool = option('torch.compile: minutes at the start, faster iterations.', False, may_change=True)


class DeblurPathOptions(PathOptions, extra='forbid'):
    """Paths count from the current folder."""

    similarity: ClassVar[float] = 0.6
    strict_load_except_g: list[str] | None = option('Parts of the network that keep their own weights.')
    strict_load_g: Literal[True] = option('Weights are only loaded whole.', True)


class StageOptions(Options):
    """Their iterations add up to `total_iter`. `batch_size_per_gpu` is the most that a process takes at a time:
    gradients are accumulated until `total_batch` is reached.
    """

    gt_size: Size = option('Training crop in pixels: one number or `[height, width]`.', needed='always')
    total_batch: Positive = option('Images per step, of all processes together.', needed='always')
    iterations: Iterations = option('Length of the stage.', needed='always')


class DeblurTrainOptions(TrainOptions, PrecisionOptions, extra='forbid'):
    similarity: ClassVar[float] = 0.6
    stages: list[StageOptions] | None = option(
        'Progressive training: one stage after the other.', may_change=True
    )  # what was trained may not change, see `checkpoints.resume`
    accumulate: Positive | None = option(
        'Batches per step of the optimizer, where there are no stages.', 1, may_change=True
    )
    optim_g: Keys | None = option('`type`: a class of `torch.optim`; the other keys are its arguments.')
    scheduler: Keys | None = option('Learning rate over time.')
    grad_clip: NonNegative = option('Largest 2-norm of the whole gradient; 0 for no limit.', 0.01)
    max_bad_steps: Positive = option(
        'Steps in a row that may be skipped for a loss that is not finite.', 10, may_change=True
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = option('Decay of the running mean of the weights; 0 for none.', 0)
    pixel_opt: Keys | None = option('Loss on pixels: `type` and arguments. At least one loss is needed.')
    fft_opt: Keys | None = option('Loss on frequencies.')
    perceptual_opt: Keys | None = option('Loss on features of a network.')

    @field_validator('stages', mode='before')
    @classmethod
    def _are_stages(cls, value: Any) -> Any:
        if value is not None and (not isinstance(value, list) or not value):
            raise ValueError(
                'expected a list of {gt_size: ..., total_batch: ..., iterations: ...}, '
                f'got {value!r}. Remove it to train in one stage.'
            )
        return value


class CosineOptions(Options):
    """The curve is computed from the iteration alone, so a resumed training stays on it."""

    type: str = option('This, or a schedule of BasicSR with its arguments.', 'CosineAnnealingLR')
    T_max: Iterations | None = option('Iteration at which the curve ends; by default `total_iter`.')
    eta_min: Finite = option('Learning rate at the end.', 1e-7)


class DeblurValOptions(ValOptions, PrecisionOptions, extra='forbid'):
    """Absent: no validation."""

    similarity: ClassVar[float] = 0.6
    best: str | None = option('Name out of `metrics`: the weights with its best value are kept.')
    patience: Positive | None = option('End after so many validations without a better `best`.')
    pictures: Natural = option('Images of each data set that are shown side by side in training.', 3)

    @field_validator('best')
    @classmethod
    def _is_measured(cls, name: str | None, info: ValidationInfo) -> str | None:
        metrics = info.data.get('metrics') or {}
        if name is not None and name not in metrics:
            known = ', '.join(map(str, metrics)) or 'none'
            raise ValueError(f'{name!r} is not in val.metrics ({known}){nearest(name, metrics)}.')
        return name

    @field_validator('patience')
    @classmethod
    def _has_a_measure(cls, number: int | None, info: ValidationInfo) -> int | None:
        if number is not None and info.data.get('best', '') is None:
            raise ValueError('name the metric to watch as val.best.')
        return number


class DeblurLoggerOptions(LoggerOptions, extra='forbid'):
    similarity: ClassVar[float] = 0.6
    pbar: bool | None = option('Progress bar over the training; ~ for where there is a terminal.')
    keep_checkpoints: Positive | None = option('How many numbered checkpoints stay, the newest; ~ for all.')


class DeblurOptions(RunOptions, extra='forbid'):
    """The whole option file of a `DeblurModel`."""

    similarity: ClassVar[float] = 0.6
    path: DeblurPathOptions = option('Files to start from.', DeblurPathOptions(), needed='run')
    train: DeblurTrainOptions | None = option('How to train.', needed='train')
    val: DeblurValOptions | None = option('How to validate, and how to test: with `save_img` at least.', needed='test')
    logger: DeblurLoggerOptions | None = option('What to log and when to save.', needed='train')


def read_sections(section: type[DeblurOptions], opt: Mapping[str, Any], reader: str) -> DeblurOptions:
    """Read what a model works with.

    Args:
        section: The declaration of the whole file.
        opt: All options, as BasicSR has parsed them.
        reader: Name of the model's class, for messages.

    Raises:
        UserError: For everything that is wrong with a section.
    """
    unread = () if opt['is_train'] else ('train', 'logger')
    typed: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        kind, value = nested(field), opt.get(name)
        if name == 'path' and kind is not None and value is not None:
            value = {key: entry for key, entry in value.items() if key in kind.model_fields}  # BasicSR has added keys
        if name in opt and name not in unread:
            typed[name] = value if kind is None or value is None else kind.read(value, name, reader)
    return section.model_construct(**typed)
