"""The loader of a training whose batches follow its stages."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from basicsr.data.prefetch_dataloader import PrefetchDataLoader
from torch.utils.data import DataLoader, Dataset

from deeprftv2_arch.config.schema import DatasetOptions
from deeprftv2_arch.config.stages import Stage, read_stages
from deeprftv2_arch.data.sampling import EpochSampler, Sample, SampleOrder
from deeprftv2_arch.utils.contracts import NamedDataset, SampledDataset, SizedDataset
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.rng import preserve_rng_state


def build_training_loader(
    dataset: SizedDataset, options: Mapping[str, Any], done: int = 0
) -> tuple[DataLoader, EpochSampler]:
    """Build the loader of one process: each batch is the process's share of one step of the optimizer.

    Args:
        dataset: Training data. One that says ``takes_samples`` is asked for :class:`~.sampling.Sample`; from any other
            the random numbers of Python, NumPy and PyTorch are taken to be all that its items depend on.
        options: All options of a training, as BasicSR has parsed them.
        done: Iterations done by the training that is resumed.

    Returns:
        The loader and its sampler, which has ``set_epoch``.

    Raises:
        UserError: If the stages are wrong, or ask for crops that the data set cannot cut.
    """
    stages = read_stages(options)
    data = DatasetOptions.read(options['datasets']['train'], 'datasets.train')
    if options['rank'] == 0:
        _check_crops(dataset, [stage for stage in stages if stage.last > done], options)
    seed = options['manual_seed']
    order = SampleOrder(len(dataset), seed, stages, data.dataset_enlarge_ratio)
    sampler = EpochSampler(order, options['rank'], options['world_size'], done)
    # As in BasicSR: without `dist`, one process feeds all GPUs.
    workers = (data.num_worker_per_gpu or 0) * (1 if options['dist'] else max(1, options['num_gpu']))
    settings: dict[str, Any] = {
        'dataset': dataset if isinstance(dataset, SampledDataset) else SeededDataset(dataset),
        'batch_sampler': sampler,
        'num_workers': workers,
        # With a generator of its own, starting the loader draws no number from that of the training.
        'generator': torch.Generator().manual_seed(seed),
        'pin_memory': data.pin_memory,
        'persistent_workers': data.persistent_workers and workers > 0,
    }
    if data.prefetch_mode == 'cpu':
        return PrefetchDataLoader(num_prefetch_queue=data.num_prefetch_queue, **settings), sampler
    return DataLoader(**settings), sampler


def describe(sampler: EpochSampler, options: Mapping[str, Any]) -> str:
    """Describe the data of a training for the log: images, epochs and a line for each stage."""
    order = sampler.order
    total = order.stages[-1].last
    lines = [
        f'{order.images} images; an epoch takes {order.epoch_images}; {order.epoch_of(total) + 1} epochs; '
        f'{total} iterations; order from manual_seed: {order.seed}',
        *(f'stage {number}, {stage}' for number, stage in enumerate(order.stages, 1)),
    ]
    return f'Training data {options["datasets"]["train"]["name"]}:' + ''.join(f'\n\t{line}' for line in lines)


def identity(dataset: SizedDataset) -> dict[str, Any]:
    """Return what must be the same for a training to be resumed: the number of images and, if known, their names."""
    names = '\n'.join(dataset.names) if isinstance(dataset, NamedDataset) else ''
    return {'images': len(dataset), 'names': hashlib.sha256(names.encode()).hexdigest()}


class SeededDataset(Dataset):
    """A data set that knows no samples: its global random numbers are made to follow the sample's seed.

    The numbers of the training itself, which may live in the same process, are put back after each item.
    """

    def __init__(self, dataset: SizedDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, sample: Sample) -> Any:
        with preserve_rng_state():
            random.seed(sample.seed)
            np.random.seed(sample.seed % 2**32)
            torch.default_generator.manual_seed(sample.seed)
            return self.dataset[sample.index]


def _check_crops(dataset: SizedDataset, stages: Sequence[Stage], options: Mapping[str, Any]) -> None:
    """Refuse crops of all stages to come that the data set cannot cut, before the first one begins."""
    data = options['datasets']['train']
    sizes = [stage.gt_size for stage in stages if stage.gt_size is not None]
    if not isinstance(dataset, SampledDataset):
        if sizes:
            raise UserError(
                f'train.stages: the data set {data["type"]} cuts one size of crops only. Use PairedDeblurDataset, or '
                'datasets.train.gt_size without stages.'
            )
        return
    own = data.get('gt_size')
    if own is not None and not sizes:
        sizes = [(own, own) if isinstance(own, int) else (own[0], own[1])]
    for size in dict.fromkeys(sizes):
        dataset.check_crop(size)
