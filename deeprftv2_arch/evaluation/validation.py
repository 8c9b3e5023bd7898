"""How a model takes in images, and how it is validated and tested on whole data sets of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, tensor2img
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from deeprftv2_arch.distributed.signals import GracefulStop, ValidationGivenUp
from deeprftv2_arch.evaluation import contact_sheet
from deeprftv2_arch.evaluation.protocols import Protocol, find_protocol
from deeprftv2_arch.evaluation.results import DatasetResult, write_images, write_summary
from deeprftv2_arch.evaluation.scores import ImageScore, Metrics, Scores, better, measure, read_groups
from deeprftv2_arch.evaluation.tables import table
from deeprftv2_arch.models.precision import Precision
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.image_write import write_image

PICTURES = 3
"""Images of each data set that are shown side by side in training, unless `val.pictures` says otherwise."""


class ValidatedModel(SRModel):
    """The images at hand, and the validation on data sets; training is left to the classes derived from it.

    Keys of a data set that are read here:

    * ``protocol``: the published protocol that it follows, see :mod:`deeprftv2_arch.evaluation.protocols`. Without
      ``val.metrics`` its metrics are measured. A test puts the paper's figures beside ours where they were measured in
      the same way.
    * ``groups``: for each group of images the file that lists it, ``{indoor: list.txt}``. A test shows its mean too.

    Several processes share the images of a data set. All of them know the results.

    Attributes:
        interruption: What may ask a validation to be given up; the launchers put theirs here.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.names: dict[str, list[str]] = {}
        self.iteration = 0
        self.interruption = GracefulStop()
        self.results: dict[str, DatasetResult] = {}
        for key, dataset in (opt.get('datasets') or {}).items():
            _protocol(dataset, f'datasets.{key}')
        self.precision = {phase: Precision.from_options(opt.get(phase), phase) for phase in ('train', 'val')}
        super().__init__(opt)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Bring a network to its device, in the memory layout and compiled as the options have it."""
        self.precision['train' if self.is_train else 'val'].prepare(net, self.device)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            return net.to(self.device)  # PyTorch refuses to distribute a network with nothing to train
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

    @property
    def tested_network(self) -> nn.Module:
        """The running mean of the weights if there is one, else the network itself, bare.

        The wrapper of several processes would exchange buffers, at times that differ from process to process.
        """
        return self.net_g_ema if hasattr(self, 'net_g_ema') else self.get_bare_model(self.net_g)

    @torch.no_grad()
    def test(self) -> None:
        """Restore the batch that was fed."""
        net = self.tested_network
        was_training = net.training
        net.eval()
        try:
            self.output = self.precision['val'].run(net, self.lq)
        finally:
            net.train(was_training)

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """As :meth:`nondist_validation`, which shares the images among the processes."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(
        self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Restore a data set image by image; score, save and log the results.

        A test also writes ``<data set>.csv`` and ``results.json``, and a table after the last of its data sets.

        Raises:
            UserError: If the data set is empty, an image or a result is not finite, metrics lack a ground truth, a list
                of a group is wrong, or a file cannot be written.
            ValidationGivenUp: If it is asked to stop before the last image; then nothing is scored or logged.
        """
        dataset = dataloader.dataset.opt
        name, protocol = dataset['name'], _protocol(dataset, dataset['name'])
        metrics = self.opt['val'].get('metrics') or (protocol.metrics if protocol else {})
        if len(dataloader) == 0:
            raise UserError(f'The data set {name!r} holds no images to validate on.')
        groups = _groups(dataloader, name)
        scores = Scores(self._score(dataloader, metrics, current_iter, save_img), groups)
        if self.is_train and tb_logger and self.opt['rank'] == 0:
            contact_sheet.add_pictures(tb_logger, self._shown(dataset), name, self.iteration)
        if not metrics:
            return
        self.metric_results = scores.means()
        if self.is_train:
            self._note_best(name, metrics, current_iter)
        self._log_validation_metric_values(current_iter, name, tb_logger)
        if not self.is_train:
            self._report(DatasetResult(name, dataset, protocol, metrics, scores))

    def _score(
        self, dataloader: DataLoader, metrics: Metrics, current_iter: int | str, save_img: bool
    ) -> list[ImageScore]:
        """Restore and score this process's share of the images, and gather the scores of all, in order.

        Raises:
            UserError: In all processes, if one of them meets it.
            ValidationGivenUp: In all processes, if one of them is asked to stop meanwhile.
        """
        share = range(len(dataloader))
        if self.opt['dist']:
            for buffer in self.tested_network.buffers():
                distributed.broadcast(buffer, 0)
            share = range(self.opt['rank'], len(dataloader.dataset), self.opt['world_size'])
            dataloader = _part(dataloader, share)
        scores: list[ImageScore] = []
        failure: UserError | ValidationGivenUp | None = None
        try:
            with self.interruption.raised():
                scores.extend(self._score_share(dataloader, share, metrics, current_iter, save_img))
        except KeyboardInterrupt:
            failure = ValidationGivenUp()
        except UserError as error:
            failure = error
        if failure is not None:
            self.interruption.peers.ask_to_stop()  # or they would go on for nothing
        return self._gather(scores, failure)

    def _gather(self, scores: list[ImageScore], failure: BaseException | None) -> list[ImageScore]:
        """The scores of all processes. Whatever happened in one of them is raised in each: none waits for another."""
        gathered = [(scores, failure)]
        if self.opt['dist']:
            gathered *= self.opt['world_size']
            distributed.all_gather_object(gathered, (scores, failure))
        # A mistake makes the others give up, so it comes first.
        for kind in (UserError, ValidationGivenUp):
            for _, failure in gathered:
                if isinstance(failure, kind):
                    raise failure
        return sorted(score for scores, _ in gathered for score in scores)

    def _score_share(
        self, dataloader: DataLoader, indices: range, metrics: Metrics, current_iter: int | str, save_img: bool
    ) -> Iterator[ImageScore]:
        dataset = dataloader.dataset.opt
        hidden = not self.opt['val'].get('pbar') or self.opt['rank'] != 0
        with tqdm(total=len(dataloader), unit='image', leave=False, disable=hidden) as bar:
            for index, data in zip(indices, dataloader, strict=True):
                self.interruption.check()
                name = data['lq_path'][0]
                restored, sharp = self._restore(data)
                if save_img:
                    write_image(tensor2img(restored), self._picture_path(name, dataset, current_iter))
                if self.is_train and index < self.opt['val'].get('pictures', PICTURES):
                    self._show(name, dataset, data, restored, sharp)
                if metrics and sharp is None:
                    raise UserError(
                        f'{dataset["name"]}: val.metrics need sharp images, and the data set has none. Remove them.'
                    )
                if metrics and restored.shape != sharp.shape:
                    sizes = ' and '.join(f'{image.shape[-1]} x {image.shape[-2]}' for image in (restored, sharp))
                    raise UserError(
                        f'{name}: the restored and the sharp image differ in size: {sizes}. Check the scale.'
                    )
                figures, remarks = measure(metrics, restored, sharp) if metrics else ({}, ())
                for remark in remarks:
                    get_root_logger().warning(f'{name}: {remark}.')
                mode = getattr(self.tested_network, 'test_mode', '')
                bar.update()
                yield ImageScore(index, name, figures, remarks, mode)

    def _restore(self, data: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Return the restored and the sharp image (1, 3, H, W) on the CPU; keep nothing of the batch."""
        try:
            self.feed_data(data)
            self.test()
            if not self.output.isfinite().all():
                damaged = self._damaged_images()
                cause = 'The image itself holds such pixels.' if damaged else 'Check the weights that were loaded.'
                raise UserError(f'{self.names["lq"][0]}: the restored image has NaN or infinite pixels. {cause}')
            visuals = self.get_current_visuals()
            bottom, right = map(int, data.get('pad', (0, 0)))
            height, width = visuals['result'].shape[-2:]
            return visuals['result'][..., : height - bottom, : width - right], visuals.get('gt')
        finally:
            self._forget_batch()

    def _show(
        self,
        name: str,
        dataset: Mapping[str, Any],
        data: Mapping[str, Any],
        restored: Tensor,
        sharp: Tensor | None,
    ) -> None:
        """Write input, restored and sharp image side by side, in the place of those of the last validation."""
        bottom, right = map(int, data.get('pad', (0, 0)))
        height, width = data['lq'].shape[-2:]
        given = data['lq'][..., : height - bottom, : width - right]
        images = [tensor2img(image) for image in (given, restored, sharp) if image is not None]
        write_image(contact_sheet.side_by_side(images), self._shown(dataset) / f'{_name_below_root(name, dataset)}.png')

    def _shown(self, dataset: Mapping[str, Any]) -> Path:
        """Folder of the pictures of a data set; the report looks for them there."""
        return Path(self.opt['path']['experiments_root'], contact_sheet.FOLDER, dataset['name'])

    def _note_best(self, name: str, metrics: Metrics, current_iter: int | str) -> None:
        """Keep the best figure of each metric, as BasicSR does, but for each data set's own metrics."""
        if not hasattr(self, 'best_metric_results'):
            self.best_metric_results = {}
        best = self.best_metric_results.setdefault(name, {})
        for metric, value in self.metric_results.items():
            direction = better(metrics[metric])
            worst = float('-inf' if direction == 'higher' else 'inf')
            best.setdefault(metric, {'better': direction, 'val': worst, 'iter': -1})
            self._update_best_metric_result(name, metric, value, current_iter)

    def _report(self, result: DatasetResult) -> None:
        """Log and write what was found; after the last data set, the table of all."""
        self.results[result.name] = result
        if self.opt['rank'] != 0:
            return
        logger = get_root_logger()
        logger.info('\n\t'.join([f'{result.name}', *result.describe()]))
        folder = Path(self.opt['path']['visualization']).parent
        written = write_images(folder, result), write_summary(folder, self.opt, self.results)
        if len(self.results) == len(self.opt.get('datasets') or [result.name]):
            logger.info(f'Results in {folder}: {written[1].name} and CSV files of the images.\n{table(self.results)}')

    def _picture_path(self, lq_path: str, dataset: Mapping[str, Any], current_iter: int | str) -> Path:
        """Where a restored image belongs; sub-folders of the data set are kept, for their files may share names."""
        folder, name = Path(self.opt['path']['visualization']), _name_below_root(lq_path, dataset)
        if self.is_train:
            return folder / name / f'{name.name}_{current_iter}.png'
        suffix = self.opt['val'].get('suffix') or self.opt['name']
        return folder / dataset['name'] / name.parent / f'{name.name}_{suffix}.png'


def _name_below_root(lq_path: str, dataset: Mapping[str, Any]) -> Path:
    """Path of an image below the folder of its data set, without extension; an LMDB's key as it is."""
    path, root = Path(lq_path), Path(dataset.get('dataroot_lq') or '')
    if (dataset.get('io_backend') or {}).get('type') == 'lmdb':
        return path
    return (path.relative_to(root) if path.is_relative_to(root) else Path(path.name)).with_suffix('')


def _part(dataloader: DataLoader, indices: range) -> DataLoader:
    """A loader of some of the images."""
    subset = Subset(dataloader.dataset, indices)
    subset.opt = dataloader.dataset.opt
    same = {name: getattr(dataloader, name) for name in ('num_workers', 'collate_fn', 'worker_init_fn')}
    return DataLoader(subset, **same)


def _protocol(dataset: Mapping[str, Any], where: str) -> Protocol | None:
    name = dataset.get('protocol')
    return None if name is None else find_protocol(name, f'{where}.protocol')


def _groups(dataloader: DataLoader, where: str) -> dict[str, frozenset[int]]:
    """The groups of a data set, found before hours are spent on it."""
    lists = dataloader.dataset.opt.get('groups') or {}
    if not lists:
        return {}
    names = getattr(dataloader.dataset, 'names', None)
    if names is None:
        raise UserError(f'{where}.groups: only the images of our own data sets can be grouped. Remove the key.')
    return read_groups(lists, names, f'{where}.groups')
