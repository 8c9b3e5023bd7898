"""Progressive training: which crop and how many images each iteration has, and how processes share them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deeprftv2_arch.config.schema import STAGE
from deeprftv2_arch.config.validators import height_and_width, positive_integer, reject_unknown_keys
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
    train, data = options['train'], (options.get('datasets') or {}).get('train') or {}
    total_iter = _iterations(train, 'total_iter', 'train')
    processes = options.get('world_size', 1)
    # The largest micro batch of a process. Without `dist`, one process feeds all GPUs.
    limit = positive_integer({'batch_size_per_gpu': 1, **data}, 'batch_size_per_gpu', 'datasets.train')
    limit *= 1 if options.get('dist') else max(1, options.get('num_gpu') or 0)
    if train.get('stages') is None:
        once = train.get('accumulate') is None
        accumulation = 1 if once else positive_integer(train, 'accumulate', 'train')
        return (Stage(1, total_iter, None, limit * processes * accumulation, processes, accumulation),)
    for message in contradictions(train, data):
        raise UserError(message)
    return _read_list(train['stages'], total_iter, processes, limit)


def contradictions(train: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """Name the keys that stages take the place of, and stages that are none, a message for each.

    Args:
        train: The section ``train``.
        data: The section ``datasets.train``.
    """
    if train.get('stages') is None:
        return
    if not train['stages']:
        yield (
            'train.stages: expected a list of {gt_size: ..., total_batch: ..., iterations: ...}, '
            f'got {train["stages"]!r}. Remove it to train in one stage.'
        )
    if train.get('accumulate') is not None:
        yield 'train.accumulate: with train.stages it follows from total_batch. Remove it.'
    if data.get('gt_size') is not None:
        yield 'datasets.train.gt_size: the crop is that of train.stages. Remove it.'


def stage_of(stages: Sequence[Stage], iteration: int) -> Stage:
    """The stage that an iteration belongs to; the last one for those after the end."""
    return next((stage for stage in stages if iteration <= stage.last), stages[-1])


def _read_list(entries: Any, total_iter: int, processes: int, limit: int) -> tuple[Stage, ...]:
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise UserError(
            'train.stages: expected a list of {gt_size: ..., total_batch: ..., iterations: ...}, '
            f'got {entries!r}. Remove it to train in one stage.'
        )
    stages: list[Stage] = []
    for number, entry in enumerate(entries):
        where = f'train.stages[{number}]'
        if not isinstance(entry, Mapping):
            raise UserError(f'{where}: expected {{gt_size: ..., total_batch: ..., iterations: ...}}, got {entry!r}.')
        reject_unknown_keys(entry, STAGE.names, where)
        batch = positive_integer(entry, 'total_batch', where)
        if batch % processes:
            raise UserError(
                f'{where}.total_batch: {batch} images do not divide among {processes} processes. Choose a multiple of '
                f'{processes}, or a number of processes that divides {batch}.'
            )
        first = stages[-1].last + 1 if stages else 1
        last = first - 1 + _iterations(entry, 'iterations', where)
        share = batch // processes
        size = height_and_width(entry, 'gt_size', where)
        stages.append(Stage(first, last, size, batch, processes, _accumulation(share, limit)))
    if stages[-1].last != total_iter:
        raise UserError(
            f'train.stages: their iterations add up to {stages[-1].last}, but train.total_iter is {total_iter}. '
            'Make them equal.'
        )
    return tuple(stages)


def _iterations(options: Mapping[str, Any], key: str, where: str) -> int:
    """Read a number of iterations; ``!!float 6e5`` is one too."""
    value = options.get(key)
    return positive_integer({key: int(value) if isinstance(value, float) and value.is_integer() else value}, key, where)


def _accumulation(share: int, limit: int) -> int:
    """The fewest equal micro batches of at most ``limit`` images that make up a share."""
    return next(steps for steps in range(math.ceil(share / limit), share + 1) if share % steps == 0)
