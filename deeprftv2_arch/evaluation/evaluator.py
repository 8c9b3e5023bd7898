"""The walk over a test set: restore every image, measure it, gather what all processes found, write the results.

It knows no model: what restores an image is a function that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from basicsr.utils import get_root_logger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from deeprftv2_arch.config.protocols import Protocol, find_protocol
from deeprftv2_arch.distributed.collect import gather_from_all
from deeprftv2_arch.distributed.signals import ValidationGivenUp
from deeprftv2_arch.evaluation.image_files import ImageFiles
from deeprftv2_arch.evaluation.results import RESULTS, DatasetResult, write_images, write_summary
from deeprftv2_arch.evaluation.scores import ImageScore, Metrics, Scores, measure, needs_ground_truth, read_groups
from deeprftv2_arch.evaluation.tables import table
from deeprftv2_arch.utils.contracts import NamedDataset, StopRequest
from deeprftv2_arch.utils.errors import UserError

CONTACT_SHEETS = 3
"""Images of each data set that are shown side by side in training, unless `val.pictures` says otherwise."""


class Restored(NamedTuple):
    """A restored image.

    Attributes:
        image: (1, 3, H, W) on the CPU, RGB, about [0, 1].
        mode: How it was restored, in words, such as the tiles; empty for the whole image at once.
    """

    image: Tensor
    mode: str = ''


Restore = Callable[[Mapping[str, Any]], Restored]
"""Restores a batch of one image: ``lq``, (1, 3, H, W) in [0, 1], and what else the data set gives."""


class _Walk(NamedTuple):
    """What is to be done with every image of a data set."""

    dataset: Mapping[str, Any]
    metrics: Metrics
    label: int | str
    save_images: bool


class Evaluator:
    """Evaluates on whole data sets.

    Several processes share the images of a data set. All of them know the results.

    Keys of a data set that are read here:

    * ``protocol``: the published protocol that it follows, see :mod:`deeprftv2_arch.config.protocols`. Without
      ``val.metrics`` its metrics are measured. A test puts the paper's values beside ours where they were measured in
      the same way.
    * ``groups``: for each group of images the file that lists it, ``{indoor: list.txt}``. A test shows its mean too.

    Args:
        restore: What is evaluated.
        options: All options of the run, as BasicSR has parsed them.

    Attributes:
        notices: What must be known of what restores the images to read the results of a test, such as that its weights
            are random: they stand in the log, below the table and in the results.

    Raises:
        UserError: A data set names an unknown protocol.
    """

    def __init__(self, restore: Restore, options: Mapping[str, Any]) -> None:
        val, datasets = options.get('val') or {}, options.get('datasets') or {}
        for key, dataset in datasets.items():
            _protocol(dataset, f'datasets.{key}')
        self.restore = restore
        self.options = options
        self.is_train = options['is_train']
        self.rank, self.processes = options.get('rank', 0), options.get('world_size', 1)
        self.metrics: Metrics | None = val.get('metrics')
        self.shows_bar = bool(val.get('pbar')) and self.rank == 0
        self.contact_sheets = val.get('pictures', CONTACT_SHEETS) if self.is_train else 0
        self.files = ImageFiles(options)
        self.remaining = max(len(datasets), 1)
        self.notices: list[str] = []
        self.results: dict[str, DatasetResult] = {}

    def evaluate(
        self, dataloader: DataLoader, stop: StopRequest, *, label: int | str = '', save_images: bool = False
    ) -> DatasetResult:
        """Restore and measure a data set image by image.

        Args:
            dataloader: Gives one image at a time; its data set has ``opt``, its section of the option file.
            stop: What may ask to give it up.
            label: Iteration of the training, for the names of files.
            save_images: Whether the restored images are written.

        Raises:
            UserError: In all processes: if the data set is empty, an image or a result is not finite, metrics lack a
                ground truth, a list of a group is wrong, or a file cannot be written.
            ValidationGivenUp: In all processes, if one of them is asked to stop before the last image.
        """
        options = _options(dataloader.dataset)
        name = options['name']
        protocol = _protocol(options, name)
        metrics: Metrics = self.metrics or (protocol.metrics if protocol else {})
        if len(dataloader) == 0:
            raise UserError(f'The data set {name!r} holds no images to validate on.')
        groups = _groups(dataloader.dataset, f'{name}.groups')
        walk = _Walk(options, metrics, label, save_images)

        indices, dataloader = self._share(dataloader)
        scores: list[ImageScore] = []
        failure: UserError | ValidationGivenUp | None = None
        try:
            with stop.raised(), self._bar(len(dataloader)) as bar:
                for index, batch in zip(indices, dataloader, strict=True):
                    stop.check()
                    scores.append(self._evaluate_image(index, batch, walk))
                    bar.update()
        except KeyboardInterrupt:
            failure = ValidationGivenUp()
        except UserError as error:
            failure = error
        if failure is not None:
            stop.ask_all()  # or they would go on for nothing
        result = DatasetResult(name, options, protocol, metrics, Scores(_gather(scores, failure), groups))
        if self.rank == 0:
            for line in result.not_finite():
                get_root_logger().warning(f'{name}: {line}.')
        return result

    def report(self, result: DatasetResult) -> None:
        """Log and write the result of a test: CSV, JSON and, after the last data set, the table of all.

        A data set on which nothing was measured counts among them, and is not written.

        Raises:
            UserError: A file cannot be written.
        """
        self.remaining -= 1
        if result.metrics:
            self.results[result.name] = result
        if self.rank != 0:
            return
        logger, folder = get_root_logger(), self.files.folder.parent
        if result.metrics:
            logger.info('\n\t'.join([f'{result.name}', *result.describe()]))
            write_images(folder, result)
            write_summary(folder, self.options, self.results, self.notices)
        if self.remaining == 0 and self.results:
            lines = [f'Results in {folder}: {RESULTS} and CSV files of the images.', table(self.results)]
            logger.info('\n'.join([*lines, *(f'Note: {notice}' for notice in self.notices)]))

    def note(self, notices: Iterable[str]) -> None:
        """Add to the notices, and log them at once: sentences."""
        for notice in notices:
            self.notices.append(notice)
            get_root_logger().warning(notice)

    def contact_sheet_folder(self, dataset: str) -> Path:
        """Return the folder of the contact sheets of a data set; it need not exist."""
        return self.files.sheet_folder(dataset)

    def _share(self, dataloader: DataLoader) -> tuple[range, DataLoader]:
        """Return the indices of this process's share of the images, and a loader of them."""
        if self.processes == 1:
            return range(len(dataloader)), dataloader
        indices = range(self.rank, len(dataloader), self.processes)
        part = DataLoader(
            Subset(dataloader.dataset, indices),
            num_workers=dataloader.num_workers,
            collate_fn=dataloader.collate_fn,
            worker_init_fn=dataloader.worker_init_fn,
        )
        return indices, part

    def _bar(self, total: int) -> tqdm:
        return tqdm(total=total, unit='image', leave=False, disable=not self.shows_bar)

    def _evaluate_image(self, index: int, batch: Mapping[str, Any], walk: _Walk) -> ImageScore:
        name, gt = batch['lq_path'][0], batch.get('gt')
        restored = self.restore(batch)
        if not restored.image.isfinite().all():
            raise UserError(f'{name}: the restored image has NaN or infinite pixels. {_cause(batch)}')
        image = _without_padding(restored.image, batch)
        if walk.save_images:
            self.files.write_restored(image, name, walk.dataset, walk.label)
        if index < self.contact_sheets:
            images = [_without_padding(batch['lq'], batch), image]
            if gt is not None:
                images.append(gt)
            self.files.write_contact_sheet(images, name, walk.dataset)
        if not walk.metrics:
            return ImageScore(index, name, {}, (), restored.mode)
        if gt is None:
            refuse_without_ground_truth(walk.metrics, walk.dataset['name'])
        elif image.shape != gt.shape:
            sizes = ' and '.join(f'{each.shape[-1]} x {each.shape[-2]}' for each in (image, gt))
            raise UserError(f'{name}: the restored and the sharp image differ in size: {sizes}. Check the scale.')
        try:
            values, remarks = measure(walk.metrics, image, gt)
        except UserError as error:
            raise UserError(f'{name}: {error}') from error
        for remark in remarks:
            get_root_logger().warning(f'{name}: {remark}.')
        return ImageScore(index, name, values, remarks, restored.mode)


def _gather(scores: list[ImageScore], failure: UserError | ValidationGivenUp | None) -> list[ImageScore]:
    """Return the scores of all processes, in order.

    Whatever happened in one of them is raised in each: none waits for another.
    """
    gathered = gather_from_all((scores, failure))
    # A mistake makes the others give up, so it comes first.
    for kind in (UserError, ValidationGivenUp):
        for _, error in gathered:
            if isinstance(error, kind):
                raise error
    everything: list[ImageScore] = []
    for part, _ in gathered:
        everything.extend(part)
    return sorted(everything, key=lambda score: score.index)


def refuse_without_ground_truth(metrics: Metrics, dataset: str) -> None:
    """Refuse metrics on images without sharp ones, unless they judge an image alone.

    Raises:
        UserError: Naming the metrics.
    """
    needy = [name for name, metric in metrics.items() if needs_ground_truth(metric)]
    if needy:
        raise UserError(
            f'{dataset}: val.metrics need sharp images ({", ".join(needy)}), and the data set has none. Remove them.'
        )


def _cause(batch: Mapping[str, Any]) -> str:
    images = [batch[role] for role in ('lq', 'gt') if role in batch]
    if all(image.isfinite().all() for image in images):
        return 'Check the weights that were loaded.'
    return 'The image itself holds such pixels.'


def _without_padding(image: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """Cut off what the data set's ``pad_to`` added at the bottom and the right."""
    bottom, right = map(int, batch.get('pad', (0, 0)))
    height, width = image.shape[-2:]
    return image[..., : height - bottom, : width - right]


def _options(dataset: Dataset) -> Mapping[str, Any]:
    """Return the section of the option file, which every data set of BasicSR keeps."""
    return dataset.opt  # type: ignore[attr-defined]


def _protocol(dataset: Mapping[str, Any], where: str) -> Protocol | None:
    name = dataset.get('protocol')
    return None if name is None else find_protocol(name, f'{where}.protocol')


def _groups(dataset: Dataset, where: str) -> dict[str, frozenset[int]]:
    """Return the groups of a data set, found before hours are spent on it."""
    lists = _options(dataset).get('groups') or {}
    if not lists:
        return {}
    if not isinstance(dataset, NamedDataset):
        raise UserError(f'{where}: only the images of our own data sets can be grouped. Remove the key.')
    return read_groups(lists, dataset.names, where)
