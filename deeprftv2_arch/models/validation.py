"""How a model takes in images, and how it is validated and tested on whole data sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from basicsr.utils import tensor2img
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from deeprftv2_arch.errors import UserError
from deeprftv2_arch.models.picture_file import write_picture
from deeprftv2_arch.models.precision import Precision


class ValidatedModel(SRModel):
    """The images at hand, and the validation on data sets; training is left to the classes derived from it."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.names: dict[str, list[str]] = {}
        self.precision = {phase: Precision.from_options(opt.get(phase), phase) for phase in ('train', 'val')}
        super().__init__(opt)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Bring a network to its device, in the memory layout and compiled as the options have it."""
        self.precision['train' if self.is_train else 'val'].prepare(net, self.device)
        return super().model_to_device(net)

    # The images at hand

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: ``lq`` and, where it is known, ``gt``, (N, 3, H, W) in [0, 1], and the names of the files."""
        self._forget_batch()
        super().feed_data(data)
        self.names = {role: data.get(f'{role}_path', []) for role in ('lq', 'gt')}

    def _forget_batch(self) -> None:
        """Drop the images at hand, so that no step mistakes them for its own and the memory is free."""
        for role in ('lq', 'gt', 'output'):
            self.__dict__.pop(role, None)

    def _damaged_images(self) -> list[str]:
        """Names of the images of this batch that hold NaN or infinite pixels."""
        damaged = []
        for role in ('lq', 'gt'):
            for index, image in enumerate(getattr(self, role, [])):
                if not image.isfinite().all():
                    names = self.names[role]
                    damaged.append(names[index] if index < len(names) else f'{role} image {index} of the batch')
        return damaged

    # Validation

    @torch.no_grad()
    def test(self) -> None:
        """Restore the batch that was fed, with the running mean of the weights if there is one."""
        # The bare network: only one of several processes validates, and the wrapper would send buffers to the others.
        net = self.net_g_ema if hasattr(self, 'net_g_ema') else self.get_bare_model(self.net_g)
        was_training = net.training
        net.eval()
        try:
            self.output = self.precision['val'].run(net, self.lq)
        finally:
            net.train(was_training)

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set image by image; score, save and log the results.

        Raises:
            UserError: If the data set is empty, an image or a result is not finite, metrics lack a ground truth, or a
                picture cannot be written.
        """
        dataset = dataloader.dataset.opt
        name, metrics = dataset['name'], self.opt['val'].get('metrics') or {}
        if len(dataloader) == 0:
            raise UserError(f'The data set {name!r} holds no images to validate on.')
        if metrics:
            self._initialize_best_metric_results(name)
        totals = dict.fromkeys(metrics, 0.0)
        with tqdm(total=len(dataloader), unit='image', leave=False, disable=not self.opt['val'].get('pbar')) as bar:
            for data in dataloader:
                restored, sharp = self._restore(data)
                if metrics and sharp is None:
                    raise UserError(f'{name}: val.metrics need sharp images, and the data set has none. Remove them.')
                if save_img:
                    write_picture(restored, self._picture_path(data['lq_path'][0], dataset, current_iter))
                for metric, options in metrics.items():
                    totals[metric] += calculate_metric({'img': restored, 'img2': sharp}, options)
                bar.update()
        if metrics:
            self.metric_results = {metric: total / len(dataloader) for metric, total in totals.items()}
            for metric, value in self.metric_results.items():
                self._update_best_metric_result(name, metric, value, current_iter)
            self._log_validation_metric_values(current_iter, name, tb_logger)

    def _restore(self, data: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the restored and the sharp image as uint8 (H, W, 3) in BGR order; keep nothing of the batch."""
        try:
            self.feed_data(data)
            self.test()
            if not self.output.isfinite().all():
                damaged = self._damaged_images()
                cause = 'The image itself holds such pixels.' if damaged else 'Check the weights that were loaded.'
                raise UserError(f'{self.names["lq"][0]}: the restored image has NaN or infinite pixels. {cause}')
            visuals = self.get_current_visuals()
            return tuple(tensor2img(visuals[key]) if key in visuals else None for key in ('result', 'gt'))
        finally:
            self._forget_batch()

    def _picture_path(self, lq_path: str, dataset: Mapping[str, Any], current_iter: int | str) -> Path:
        """Where a restored image belongs; sub-folders of the data set are kept, for their files may share names."""
        folder = Path(self.opt['path']['visualization'])
        if (dataset.get('io_backend') or {}).get('type') == 'lmdb':
            name = Path(lq_path)
        else:
            path, root = Path(lq_path), Path(dataset.get('dataroot_lq') or '')
            name = (path.relative_to(root) if path.is_relative_to(root) else Path(path.name)).with_suffix('')
        if self.is_train:
            return folder / name / f'{name.name}_{current_iter}.png'
        suffix = self.opt['val'].get('suffix') or self.opt['name']
        return folder / dataset['name'] / name.parent / f'{name.name}_{suffix}.png'
