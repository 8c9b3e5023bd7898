"""Patches of BasicSR's parts: in force as soon as its models are imported, also in an attached checkout."""

from __future__ import annotations

import os
import re
import sys

import cv2
import torch

from deeprftv2_arch.basicsr_compat.patches.patching import base_model, module, replace, source_has, source_lacks
from deeprftv2_arch.config.network_options import unwrap
from deeprftv2_arch.config.schema import OPTIMIZERS
from deeprftv2_arch.utils.errors import UserError


def patch_optimizers() -> bool:
    """Let an option file name AdamW, SGD and the others that BasicSR's master knows.

    1.4.2 knows Adam alone and raises NotImplementedError. Patched on master, never released.
    """
    if not source_lacks(base_model().get_optimizer, 'AdamW'):
        return False

    def get_optimizer(self, optim_type, params, lr, **kwargs):
        if optim_type not in OPTIMIZERS:
            raise UserError(f'There is no optimizer {optim_type!r}. Choose one of {", ".join(OPTIMIZERS)}.')
        return getattr(torch.optim, optim_type)(params, lr, **kwargs)

    replace(base_model(), 'get_optimizer', get_optimizer)
    return True


def patch_prefetch() -> bool:
    """Let an exception in the thread of `prefetch_mode: cpu` reach the training loop, which otherwise waits forever."""
    generator = module('data.prefetch_dataloader').PrefetchGenerator
    if not source_lacks(generator.run, 'except'):
        return False

    def run(self):
        try:
            run.original(self)
        except Exception as error:
            self.queue.put(error)

    def next_item(self):
        item = self.queue.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopIteration
        return item

    replace(generator, 'run', run)
    replace(generator, '__next__', next_item)
    return True


def patch_stray_files() -> bool:
    """Let `SingleImageDataset` leave out files that are no images, and name an image that cannot be decoded.

    A `Thumbs.db` beside photographs otherwise ends the run with an AttributeError.
    """
    dataset = module('data.single_image_dataset').SingleImageDataset
    if not source_lacks(dataset, 'IMAGE_SUFFIXES'):
        return False

    def init(self, opt):
        from deeprftv2_arch.data.image_file import IMAGE_SUFFIXES

        init.original(self, opt)
        if opt['io_backend']['type'] == 'lmdb' or 'meta_info_file' in opt:
            return
        images = [path for path in self.paths if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES]
        if not images:
            raise UserError(f'{opt["dataroot_lq"]} holds no images ({", ".join(sorted(IMAGE_SUFFIXES))}).')
        left_out = [path for path in self.paths if path not in set(images)]
        if left_out:
            logger = module('utils.logger').get_root_logger()
            logger.warning(f'{opt["dataroot_lq"]}: left out {len(left_out)} files that are not images: {left_out[0]}')
        self.paths = images

    def get_item(self, index):
        from deeprftv2_arch.data.errors import DataError

        try:
            return get_item.original(self, index)
        except (AttributeError, cv2.error) as error:
            raise DataError(f'{self.paths[index]}: OpenCV cannot decode this file as an image. Remove it.') from error

    replace(dataset, '__init__', init)
    replace(dataset, '__getitem__', get_item)
    return True


def patch_last_iteration() -> bool:
    """Report the validation after training under the last iteration, not under the one or two that never took place."""
    if not source_has(base_model().validation, 'nondist_validation'):
        return False

    def validation(self, dataloader, current_iter, tb_logger, save_img=False):
        if self.is_train:
            current_iter = min(current_iter, int(self.opt['train']['total_iter']))
        validation.original(self, dataloader, current_iter, tb_logger, save_img)

    replace(base_model(), 'validation', validation)
    return True


def patch_local_rank() -> bool:
    """Accept `--local-rank`, which `torch.distributed.launch` of torch 2 passes. BasicSR #626."""
    options = module('utils.options')
    if not source_lacks(options.parse_options, '--local-rank'):
        return False

    def parse_options(root_path, is_train=True):
        sys.argv[1:] = [re.sub('^--local-rank(?==|$)', '--local_rank', argument) for argument in sys.argv[1:]]
        return parse_options.original(root_path, is_train)

    replace(options, 'parse_options', parse_options)
    return True


def patch_wrapped_network() -> bool:
    """Let model classes find the arguments of a network that `WithFKE` wraps where they look, in `network_g` itself."""
    options = module('utils.options')
    function = options.parse_options
    while function is not None:  # others may have been put around it since
        if getattr(function, 'unwraps', False):
            return False
        function = getattr(function, 'original', None)

    def parse_options(root_path, is_train=True):
        parsed, arguments = parse_options.original(root_path, is_train)
        unwrap(parsed)
        return parsed, arguments

    parse_options.unwraps = True  # type: ignore[attr-defined]
    replace(options, 'parse_options', parse_options)
    return True
