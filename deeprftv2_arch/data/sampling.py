"""The order and the randomness of the training data, as a function of the seed and the iteration alone.

Images are numbered as they are used: the first batch takes the numbers from 0, the next one goes on from there. The
number of an image decides which image it is and how it is cropped and mirrored. So a training sees the same data with
any number of processes, workers and micro batches, and after any restart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from deeprftv2_arch.config.stages import Stage, stage_of


class Sample(NamedTuple):
    """What a data set is asked for in training, in place of an index.

    Attributes:
        index: Index of the image.
        gt_size: Height and width of the crop; None for the data set's own.
        seed: Seed of all that is random about this sample, in [0, 2^63).
    """

    index: int  # type: ignore[assignment]  # the method of tuples is of no use here
    gt_size: tuple[int, int] | None
    seed: int


class SampleOrder:
    """Which samples each iteration takes. Every image is taken once before any is taken again.

    Args:
        images: Number of images in the data set.
        seed: ``manual_seed``, not negative.
        stages: Stages of the training, whose batches need not be equal.
        ratio: ``dataset_enlarge_ratio``: how many times an epoch goes through the data set.
    """

    def __init__(self, images: int, seed: int, stages: Sequence[Stage], ratio: float = 1) -> None:
        self.seed = seed
        self.images = images
        self.stages = tuple(stages)
        # An epoch of BasicSR's loop: no shorter than a batch, so that each one holds an iteration.
        self.epoch_images = max(math.ceil(images * ratio), *(stage.total_batch for stage in stages))
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def batch(self, iteration: int) -> list[Sample]:
        """The samples of all processes in one iteration, counted from 1."""
        stage, first = stage_of(self.stages, iteration), self._first_number(iteration)
        return [self._sample(number, stage.gt_size) for number in range(first, first + stage.total_batch)]

    def epoch_of(self, iteration: int) -> int:
        """The epoch, counted from 0, in which an iteration begins."""
        return self._first_number(iteration) // self.epoch_images

    def iterations(self, epoch: int) -> range:
        """The iterations that begin in an epoch."""
        return range(
            self._iteration_from(epoch * self.epoch_images), self._iteration_from((epoch + 1) * self.epoch_images)
        )

    def _first_number(self, iteration: int) -> int:
        return sum(
            (min(stage.last + 1, iteration) - stage.first) * stage.total_batch
            for stage in self.stages
            if stage.first <= iteration
        )

    def _iteration_from(self, number: int) -> int:
        """The first iteration that begins with this image or a later one; after the last one if there is none."""
        for stage in self.stages:
            behind = max(0, number - self._first_number(stage.first))
            iteration = stage.first + math.ceil(behind / stage.total_batch)
            if iteration <= stage.last:
                return iteration
        return self.stages[-1].last + 1

    def _sample(self, number: int, gt_size: tuple[int, int] | None) -> Sample:
        turn, place = divmod(number, self.images)
        seed = np.random.SeedSequence((self.seed, 1, number)).generate_state(1, np.uint64)[0]
        return Sample(int(self._permutation(turn)[place]), gt_size, int(seed) >> 1)

    def _permute(self, turn: int) -> np.ndarray:
        return np.random.default_rng(np.random.SeedSequence((self.seed, 0, turn))).permutation(self.images)


class EpochSampler(Sampler[list[Sample]]):
    """One process's share of every batch of an epoch, for a ``DataLoader``'s ``batch_sampler``.

    Args:
        order: Order of the samples.
        rank: Number of this process.
        processes: Number of processes; they deal each batch out in turn.
        done: Iterations done by the training that is resumed.
    """

    def __init__(self, order: SampleOrder, rank: int = 0, processes: int = 1, done: int = 0) -> None:
        self.order, self.rank, self.processes, self.done = order, rank, processes, done
        self.epoch = order.epoch_of(done + 1)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; called by BasicSR's loop before each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Sample]]:
        for iteration in self._iterations():
            yield self.order.batch(iteration)[self.rank :: self.processes]

    def __len__(self) -> int:
        return len(self._iterations())

    def _iterations(self) -> range:
        iterations = self.order.iterations(self.epoch)
        return range(max(iterations.start, self.done + 1), iterations.stop)
