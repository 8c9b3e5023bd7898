"""Which samples a training takes: nothing but the seed and the iteration decides."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from basicsr.data.prefetch_dataloader import CPUPrefetcher
from torch.utils.data import Dataset

from deeprftv2_arch.config.stages import Stage, read_stages
from deeprftv2_arch.data.loading import build_training_loader
from deeprftv2_arch.data.sampling import EpochSampler, SampleOrder
from deeprftv2_arch.utils.errors import UserError

IMAGES = 7
STAGES = (Stage(1, 4, (8, 8), 6, 1, 1), Stage(5, 11, (16, 24), 4, 1, 1), Stage(12, 13, (32, 32), 12, 1, 1))


def order(images: int = IMAGES, seed: int = 5, ratio: float = 1) -> SampleOrder:
    return SampleOrder(images, seed, STAGES, ratio)


def everything(samples: SampleOrder) -> list:
    return [sample for iteration in range(1, 14) for sample in samples.batch(iteration)]


def test_every_image_is_taken_once_before_any_is_taken_again():
    indices = [sample.index for sample in everything(order())]
    assert len(indices) == 4 * 6 + 7 * 4 + 2 * 12
    turns = [indices[start : start + IMAGES] for start in range(0, len(indices) - IMAGES + 1, IMAGES)]
    assert all(sorted(turn) == list(range(IMAGES)) for turn in turns)
    assert len(set(map(tuple, turns))) > 1


def test_batches_and_crops_follow_the_stages():
    batches = [order().batch(iteration) for iteration in range(1, 14)]
    assert [len(batch) for batch in batches] == [6] * 4 + [4] * 7 + [12] * 2
    crops = [{sample.gt_size for sample in batch} for batch in batches]
    assert crops == [{(8, 8)}] * 4 + [{(16, 24)}] * 7 + [{(32, 32)}] * 2


def test_seeds_differ_from_sample_to_sample_and_from_training_to_training():
    seeds = [sample.seed for seed in range(3) for sample in everything(order(seed=seed))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert [s.index for s in everything(order(seed=0))] != [s.index for s in everything(order(seed=1))]


@pytest.mark.parametrize('ratio', [0.1, 1, 3])
def test_epochs_part_the_iterations(ratio):
    samples = order(ratio=ratio)
    epochs = [samples.iterations(epoch) for epoch in range(samples.epoch_of(13) + 1)]
    assert [iteration for epoch in epochs for iteration in epoch] == list(range(1, 14))
    assert all(len(epoch) > 0 for epoch in epochs)
    assert all(samples.epoch_of(iteration) == number for number, epoch in enumerate(epochs) for iteration in epoch)
    assert len(samples.iterations(len(epochs))) == 0


@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('done', [0, 3, 4, 6, 13])
def test_processes_deal_the_batches_out_and_restarts_go_on(processes, done):
    samples = order()
    found: dict[int, list] = {}
    for rank in range(processes):
        sampler = EpochSampler(samples, rank, processes, done)
        iteration = done
        for epoch in range(sampler.epoch, samples.epoch_of(13) + 1):
            sampler.set_epoch(epoch)
            batches = list(sampler)
            assert len(batches) == len(sampler)
            for batch in batches:
                iteration += 1
                found.setdefault(iteration, []).extend(batch)
        assert iteration == 13
    for iteration in range(done + 1, 14):
        assert Counter(found[iteration]) == Counter(samples.batch(iteration))


class GlobalDraws(Dataset):
    """As the data sets of BasicSR: random numbers come from the generators of the process."""

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> dict:
        return {'index': index, 'drawn': (random.random(), np.random.random(), torch.rand(()).item())}


def options(**data) -> dict:
    return {
        'manual_seed': 3,
        'rank': 0,
        'world_size': 1,
        'dist': False,
        'num_gpu': 0,
        'train': {'total_iter': 9, 'accumulate': 2},
        'datasets': {'train': {'type': 'X', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0, **data}},
    }


def drawn(settings: dict, done: int = 0) -> list:
    """What BasicSR's loop gets, iteration by iteration."""
    loader, sampler = build_training_loader(GlobalDraws(), settings, done)
    prefetcher, batches = CPUPrefetcher(loader), []
    for epoch in range(sampler.epoch, sampler.order.epoch_of(9) + 1):
        sampler.set_epoch(epoch)
        prefetcher.reset()
        batches += [
            [part.tolist() for part in (batch['index'], *batch['drawn'])] for batch in iter(prefetcher.next, None)
        ]
    return batches


def test_any_data_set_draws_the_same_whoever_loads_it():
    before = random.getstate(), torch.get_rng_state()
    alone = drawn(options())
    assert len(alone) == 9
    assert all(len(batch[0]) == 4 for batch in alone)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    numbers = [number for batch in alone for number in batch[1]]
    assert len(set(numbers)) == len(numbers) == 36
    assert drawn(options(num_worker_per_gpu=2)) == alone
    assert drawn(options(prefetch_mode='cpu')) == alone
    assert drawn(options(), done=5) == alone[5:]
    assert drawn(options(dataset_enlarge_ratio=4), done=5) == alone[5:]


def test_two_processes_draw_what_one_does():
    alone = drawn(options())
    shares = []
    for rank in range(2):
        settings = {**options(), 'rank': rank, 'world_size': 2, 'dist': True}
        settings['train'] = {'total_iter': 9}
        shares.append(drawn(settings))
    for batch, *halves in zip(alone, *shares, strict=True):
        assert [list(islice(part, 0, None)) for part in batch] == [
            [value for pair in zip(*parts, strict=True) for value in pair] for parts in zip(*halves, strict=True)
        ]


class TestStages:
    LIST = [  # noqa: RUF012
        {'gt_size': 256, 'total_batch': 16, 'iterations': 450},
        {'gt_size': [776, 680], 'total_batch': 8, 'iterations': 150},
    ]

    def read(self, stages=None, processes: int = 1, limit: int = 2, **train):
        train = {'total_iter': 600, **({'stages': stages} if stages else {}), **train}
        data = {'train': {'batch_size_per_gpu': limit}}
        return read_stages(
            {'train': train, 'datasets': data, 'world_size': processes, 'dist': processes > 1, 'num_gpu': 0}
        )

    @pytest.mark.parametrize(
        ('processes', 'limit', 'accumulation'),
        [(1, 2, (8, 4)), (8, 2, (1, 1)), (8, 1, (2, 1)), (1, 5, (4, 2)), (4, 3, (2, 1)), (1, 99, (1, 1))],
    )
    def test_total_batch_is_kept_whatever_the_machines(self, processes, limit, accumulation):
        stages = self.read(self.LIST, processes, limit)
        assert [stage.total_batch for stage in stages] == [16, 8]
        assert tuple(stage.accumulation for stage in stages) == accumulation
        for stage in stages:
            assert stage.share % stage.accumulation == 0
            assert stage.share // stage.accumulation <= limit
        assert [(stage.first, stage.last) for stage in stages] == [(1, 450), (451, 600)]
        assert stages[1].gt_size == (776, 680)

    def test_what_the_log_says(self):
        assert str(self.read(self.LIST, 4)[0]) == (
            'iterations 1 to 450: crops of 256 x 256, 16 images a step = '
            '4 process(es) x micro batch of 2 x 2 accumulated'
        )

    def test_without_stages(self):
        (stage,) = self.read(processes=2, limit=3, accumulate=4)
        assert stage == Stage(1, 600, None, 24, 2, 4)

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'total_iter': 599}, r'train\.stages: their iterations add up to 600, but train\.total_iter is 599'),
            ({'processes': 3}, r'train\.stages\.0\.total_batch: 16 images do not divide among 3 processes'),
            ({'accumulate': 2}, r'train\.accumulate: with train\.stages it follows'),
            ({'stages': {'gt_size': 8}}, r'train\.stages: expected a list'),
            (
                {'stages': [{'gt_size': 8, 'total_batch': 1, 'iteration': 600}]},
                r'0\.iteration: unknown key for Deb',
            ),
            ({'stages': [{'gt_size': 8, 'total_batch': 0, 'iterations': 600}]}, r'stages\.0\.total_batch: expected'),
            ({'stages': [{'gt_size': '8', 'total_batch': 1, 'iterations': 600}]}, r'stages\.0\.gt_size: expected'),
            ({'stages': [{'gt_size': [8], 'total_batch': 1, 'iterations': 600}]}, r'stages\.0\.gt_size: expected'),
        ],
    )
    def test_mistakes_name_the_key(self, change, message):
        with pytest.raises(UserError, match=message):
            self.read(**{'stages': self.LIST, **change})

    def test_stages_need_a_data_set_that_crops(self):
        settings = options()
        settings['train'] = {'total_iter': 9, 'stages': [{'gt_size': 8, 'total_batch': 2, 'iterations': 9}]}
        with pytest.raises(UserError, match=r'train\.stages: the data set X cuts one size'):
            build_training_loader(GlobalDraws(), settings)
