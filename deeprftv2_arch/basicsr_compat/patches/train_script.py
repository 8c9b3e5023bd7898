"""Patches of the training script: of the module `basicsr.train`, or of an attached checkout's `basicsr/train.py`."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import distributed as dist

from deeprftv2_arch.basicsr_compat.patches.patching import module, replace, source_has
from deeprftv2_arch.checkpoints import resume
from deeprftv2_arch.checkpoints.training_start import TrainingStart, set_training_start, training_start
from deeprftv2_arch.utils.contracts import BatchPlanner, NamedDataset
from deeprftv2_arch.utils.rng import preserve_rng_state


def patch_resume() -> bool:
    """Resume without a GPU too, from where the training saves, and from nothing but a good state of this training.

    BasicSR asks for the current CUDA device on any machine, and looks for `experiments` below the current folder
    even if the results go elsewhere. BasicSR #18, #64, #114, #464.
    """
    found = False
    for script in _scripts('load_resume_state', 'torch.cuda.current_device()'):
        replace(script, 'load_resume_state', _load_resume_state)
        found = True
    return found


def patch_batches() -> bool:
    """Give models with `plans_batches` the loader that they plan: stages, accumulation, exact resume.

    BasicSR's sampler begins an epoch anew when a training is resumed, its workers draw the same numbers in every
    epoch, and its batch is one size for the whole training. Other models keep BasicSR's loader.
    """
    found = False
    for script in _scripts('create_train_val_dataloader', 'EnlargedSampler('):
        replace(script, 'create_train_val_dataloader', _planned_loaders(script))
        found = True
    return found


def _scripts(function: str, fault: str) -> Iterator[types.ModuleType]:
    """Yield the training scripts in use whose function has a fault."""
    for name in ('basicsr.train', '__main__'):
        script = sys.modules.get(name)
        original = getattr(script, function, None)
        if script is not None and original is not None and source_has(original, fault):
            yield script


def _load_resume_state(opt):
    path, newest = opt['path'].get('resume_state'), None
    if opt['auto_resume']:
        newest = resume.newest_state(opt)
    if newest is not None:
        if path is not None and Path(path).resolve() != newest[0].resolve() and opt.get('rank', 0) == 0:
            print(
                f'Warning: --auto_resume goes on from {newest[0]}, and path.resume_state: {path} is not used.',
                file=sys.stderr,
            )
        opt['path']['resume_state'] = str(newest[0])
        state = newest[1]
    else:
        state = None if path is None else resume.load_state(path, opt)
    if state is not None:
        resume.check_length(state, opt)
        module('utils').check_resume(opt, state['iter'])
        set_training_start(opt, TrainingStart.after(state))
    # The optimizers move their state to the device of their parameters.
    return state


def _planned_loaders(script: types.ModuleType) -> Callable[..., Any]:
    def create_train_val_dataloader(opt, logger):
        model = module('utils.registry').MODEL_REGISTRY.get(opt['model_type'])
        if not (isinstance(model, BatchPlanner) and model.plans_batches):
            return create_train_val_dataloader.original(opt, logger)
        # Not at the top: these import BasicSR, which this module comes before.
        from deeprftv2_arch.data.loading import build_training_loader, describe, identity

        start = training_start(opt)
        seed = opt['manual_seed'] if start.manual_seed is None else start.manual_seed
        opt['manual_seed'] = _one_for_all(seed)
        dataset = script.build_dataset(opt['datasets']['train'])
        start.data = identity(dataset)
        resume.check_data(start.data_before, start.data)
        loader, sampler = build_training_loader(dataset, opt, start.iteration)
        logger.info(describe(sampler, opt))
        # The loop goes on with the epoch that the state names; with these data it is this one.
        start.epoch = sampler.epoch
        set_training_start(opt, start)
        val_loaders = []
        for name, options in opt['datasets'].items():
            if name != 'train':
                val_set = script.build_dataset(options)
                _check_ground_truth(val_set, options, (opt.get('val') or {}).get('metrics'))
                settings = {'num_gpu': opt['num_gpu'], 'dist': opt['dist'], 'seed': opt['manual_seed']}
                val_loaders.append(script.build_dataloader(val_set, options, sampler=None, **settings))
                logger.info(f'Number of val images/folders in {options["name"]}: {len(val_set)}')
        total = sampler.order.stages[-1].last
        return loader, sampler, val_loaders, sampler.order.epoch_of(total), total

    return create_train_val_dataloader


def _check_ground_truth(dataset: Any, options: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> None:
    """Refuse metrics that the first validation could not measure, for lack of sharp images."""
    from deeprftv2_arch.evaluation.evaluator import refuse_without_ground_truth

    is_lmdb = (options.get('io_backend') or {}).get('type') == 'lmdb'  # not to be open when workers are started
    if not metrics or is_lmdb or isinstance(dataset, NamedDataset):  # ours are pairs
        return
    with preserve_rng_state():
        has_ground_truth = 'gt' in dataset[0]
    if not has_ground_truth:
        refuse_without_ground_truth(metrics, options['name'])


def _one_for_all(seed: int) -> int:
    """Return the seed of rank 0: without `manual_seed` each process draws its own."""
    if not dist.is_initialized():
        return seed
    seeds = [seed]
    dist.broadcast_object_list(seeds, src=0)
    return seeds[0]
