"""Progressive training: which crop and how many images each iteration has, and how processes share them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deeprftv2_arch.config.problems import KeyPath
from deeprftv2_arch.config.schema import DatasetOptions, DeblurTrainOptions
from deeprftv2_arch.utils.errors import UserError


class Stage(NamedTuple):
    """Iterations that are alike.

    Attributes:
        first: Number of the first iteration; the first of all is 1.
        last: Number of the last iteration.
        gt_size: Height and width of the training crop; None for the one that the data set has of its own.
        total_batch: Images per step of the optimizer, over all processes and accumulated micro batches.
        processes: Processes that share them.
        accumulation: Micro batches that one process works on, one after the other, for one step.
    """

    first: int
    last: int
    gt_size: tuple[int, int] | None
    total_batch: int
    processes: int
    accumulation: int

    @property
    def share(self) -> int:
        """Images of one process in one step."""
        return self.total_batch // self.processes

    def __str__(self) -> str:
        crop = 'crops' if self.gt_size is None else f'crops of {" x ".join(map(str, self.gt_size))}'
        return (
            f'iterations {self.first} to {self.last}: {crop}, {self.total_batch} images a step = {self.processes} '
            f'process(es) x micro batch of {self.share // self.accumulation} x {self.accumulation} accumulated'
        )


def read_stages(options: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Read ``train.stages``, or take the whole training for one stage.

    Without stages, each process takes ``batch_size_per_gpu`` images ``train.accumulate`` times (default once) for one
    step. With stages, ``batch_size_per_gpu`` is the largest micro batch, and the accumulation follows from it.

    Args:
        options: All options of a training, as BasicSR has parsed them.

    Raises:
        UserError: If the stages do not add up to ``total_iter`` or a batch does not divide, naming the key.
    """
    kept = ('total_iter', 'stages', 'accumulate')
    given = {key: value for key, value in options['train'].items() if key in kept}
    train = DeblurTrainOptions.read(given, 'train', 'DeblurModel')
    data = (options.get('datasets') or {}).get('train') or {}
    processes = options.get('world_size', 1)
    for path, message in stage_mistakes(options['train'], data, train, processes):
        raise UserError(f'{".".join(path)}: {message}')
    batch = {key: value for key, value in data.items() if key == 'batch_size_per_gpu'}
    # The largest micro batch of a process. Without `dist`, one process feeds all GPUs.
    limit = DatasetOptions.read(batch, 'datasets.train').batch_size_per_gpu or 1
    limit *= 1 if options.get('dist') else max(1, options.get('num_gpu') or 0)
    if train.stages is None:
        accumulation = train.accumulate or 1
        return (Stage(1, train.total_iter, None, limit * processes * accumulation, processes, accumulation),)
    stages: list[Stage] = []
    first = 1
    for stage in train.stages:
        last = first - 1 + stage.iterations
        accumulation = _accumulation(stage.total_batch // processes, limit)
        stages.append(Stage(first, last, stage.gt_size, stage.total_batch, processes, accumulation))
        first = last + 1
    return tuple(stages)


def stage_mistakes(
    given: Mapping[str, Any], data: Mapping[str, Any], train: DeblurTrainOptions | None, processes: int
) -> Iterator[tuple[KeyPath, str]]:
    """Find keys that stages take the place of, and stages that do not fill the training or cannot be shared.

    Args:
        given: The section ``train`` as it was written.
        data: The section ``datasets.train``.
        train: The section ``train``; None if something else is wrong with it.
        processes: Number of processes that share a batch.
    """
    if not given.get('stages'):
        return
    if given.get('accumulate') is not None:
        yield ('train', 'accumulate'), 'with train.stages it follows from total_batch. Remove it.'
    if data.get('gt_size') is not None:
        yield ('datasets', 'train', 'gt_size'), 'the crop is that of train.stages. Remove it.'
    if train is None or train.stages is None:
        return
    iterations = sum(stage.iterations for stage in train.stages)
    if iterations != train.total_iter:
        message = f'their iterations add up to {iterations}, but train.total_iter is {train.total_iter}.'
        yield ('train', 'stages'), message
    for number, stage in enumerate(train.stages):
        if stage.total_batch % processes:
            yield (
                ('train', 'stages', str(number), 'total_batch'),
                f'{stage.total_batch} images do not divide among {processes} processes. Choose a multiple of '
                f'{processes}, or a number of processes that divides {stage.total_batch}.',
            )


def stage_of(stages: Sequence[Stage], iteration: int) -> Stage:
    """The stage that an iteration belongs to; the last one for those after the end."""
    return next((stage for stage in stages if iteration <= stage.last), stages[-1])


def _accumulation(share: int, limit: int) -> int:
    """The fewest equal micro batches of at most ``limit`` images that make up a share."""
    return next(steps for steps in range(math.ceil(share / limit), share + 1) if share % steps == 0)
