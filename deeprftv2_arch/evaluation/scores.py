"""Metric values of the images of one data set: measured one by one, averaged over all and over groups."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from deeprftv2_arch.config.protocols import ALL
from deeprftv2_arch.metrics.info import MetricWarning
from deeprftv2_arch.utils.contracts import MetricInfo
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.list_file import position, read_list_file
from deeprftv2_arch.utils.natural_sort import natural_sort_key

Metrics = Mapping[str, Mapping[str, Any]]
"""As under ``val.metrics``: by a name of the user's choice ``type`` and arguments."""


@dataclass(frozen=True)
class ImageScore:
    """What was found out about one image.

    Attributes:
        index: Its number in the data set.
        name: Its lq file, or LMDB key.
        values: By the name of the metric.
        remarks: What the metrics had to say, each once.
        mode: How the network restored it, in words.
    """

    index: int
    name: str
    values: dict[str, float]
    remarks: tuple[str, ...]
    mode: str


@dataclass(frozen=True)
class Scores:
    """The scores of a whole data set, in its order.

    Attributes:
        images: One for each image.
        groups: Indices of the images of each group; the group of all is not among them.
    """

    images: Sequence[ImageScore]
    groups: Mapping[str, frozenset[int]]

    def of(self, group: str) -> list[ImageScore]:
        """Return the images of a group, or of all."""
        if group == ALL:
            return list(self.images)
        return [image for image in self.images if image.index in self.groups[group]]

    def means(self, group: str = ALL) -> dict[str, float]:
        """Average each metric over the images of a group.

        The sums are exact before they are rounded once, so that neither order nor number of processes changes them.
        """
        images = self.of(group)
        means = {}
        for metric in images[0].values:
            means[metric] = _mean([image.values[metric] for image in images])
        return means

    def not_finite(self, metric: str) -> list[ImageScore]:
        """Return the images whose value of a metric is infinite or NaN."""
        return [image for image in self.images if not math.isfinite(image.values[metric])]

    def deciding_mean(self, metric: str, better: str) -> float | None:
        """Average a metric for a comparison with other means: over the images whose value is finite.

        An image that is restored without any difference, whose PSNR is infinite, is left out.

        Args:
            metric: Its name.
            better: `'higher'` or `'lower'`.

        Returns:
            The mean; None if an image has NaN or an infinitely bad value, or none has a finite one.
        """
        perfect = math.inf if better == 'higher' else -math.inf
        if any(image.values[metric] != perfect for image in self.not_finite(metric)):
            return None
        finite = [image.values[metric] for image in self.images if math.isfinite(image.values[metric])]
        return _mean(finite) if finite else None

    @property
    def modes(self) -> str:
        """How the images were restored, each way once."""
        modes = [image.mode for image in self.images if image.mode]
        return '; '.join(dict.fromkeys(modes)) or 'whole images'

    @property
    def remarks(self) -> dict[str, int]:
        """On how many images each remark was made."""
        counts: Counter[str] = Counter()
        for image in self.images:
            counts.update(image.remarks)
        return dict(counts)


def _mean(values: Sequence[float]) -> float:
    if all(map(math.isfinite, values)):
        return math.fsum(values) / len(values)
    return sum(values)  # infinite or NaN, which an exact sum refuses


def better(metric: Mapping[str, Any]) -> str:
    """Return which values are better, ``'higher'`` or ``'lower'``: as the options say, else as the metric says."""
    if metric.get('better'):
        return str(metric['better'])
    function = METRIC_REGISTRY.get(metric['type'])
    return function.better if isinstance(function, MetricInfo) else 'higher'


def needs_ground_truth(metric: Mapping[str, Any]) -> bool:
    """Return whether a metric compares with a sharp image, `img2`; some judge an image alone."""
    return 'img2' in inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters


def measure(metrics: Metrics, restored: Tensor, gt: Tensor | None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Measure one image.

    Args:
        metrics: What to measure. Metrics marked as ``unquantized`` are handed float32 in [0, 1], the others uint8, all
            of them (H, W, 3) in BGR order as in BasicSR.
        restored: (1, 3, H, W), RGB, clipped here to [0, 1].
        gt: Image of the same shape; None where no metric needs it.

    Returns:
        The values by name of the metric, and what the metrics had to say.

    Raises:
        UserError: An image is not one that a metric can measure, as one smaller than its window.
    """
    converted: dict[type, dict[str, np.ndarray]] = {}
    values = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', MetricWarning)
        for name, options in metrics.items():
            kind = _pixel_type(options)
            if kind not in converted:
                converted[kind] = {'img': tensor2img(restored, out_type=kind)}
                if gt is not None:
                    converted[kind]['img2'] = tensor2img(gt, out_type=kind)
            images = converted[kind]
            if not needs_ground_truth(options):
                images = {'img': images['img']}
            try:
                values[name] = float(calculate_metric(images, dict(options)))
            except _UNMEASURABLE as error:
                height, width = restored.shape[-2:]
                raise UserError(
                    f'{options["type"]} cannot measure {width} x {height} pixels: {error}. Remove val.metrics.{name}, '
                    'or the image from the data set.'
                ) from error
    remarks = [f'{name} is {value}' for name, value in values.items() if not math.isfinite(value)]
    for entry in caught:
        if issubclass(entry.category, MetricWarning):
            remarks.append(str(entry.message))
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
    return values, tuple(dict.fromkeys(remarks))


_UNMEASURABLE = (ValueError, AssertionError, IndexError, ZeroDivisionError, cv2.error)
"""What metrics raise about images that they cannot measure."""


def _pixel_type(metric: Mapping[str, Any]) -> type:
    function = METRIC_REGISTRY.get(metric['type'])
    return np.float32 if isinstance(function, MetricInfo) and function.unquantized else np.uint8


def read_groups(lists: Mapping[str, str], names: Sequence[str], where: str) -> dict[str, frozenset[int]]:
    """Find the images of each group of a data set.

    Args:
        lists: For each group the file that lists it: a line for each image, either its name, with or without suffix, or
            its position, counted from 1 in the natural order of names; or a NumPy file of such positions.
        names: The images, in the order of the data set, without suffix.
        where: Place in the option file, for messages.

    Returns:
        Indices into ``names``.

    Raises:
        UserError: A list cannot be read, is empty, or names an image that is not there.
    """
    order = sorted(range(len(names)), key=lambda index: natural_sort_key(names[index]))
    groups = {}
    for group, file in lists.items():
        if group == ALL:
            raise UserError(f'{where}.{group}: all images are a group already. Choose another name.')
        groups[group] = _find(read_list_file(file, f'{where}.{group}'), names, order, f'{where}.{group}: {file}')
    return groups


def _find(entries: Sequence[str], names: Sequence[str], order: Sequence[int], where: str) -> frozenset[int]:
    """Return the indices of the listed images, by names or, if no list of names fits, by positions."""
    hint = 'Write the name of an image on each line, or its position, counted from 1.'
    if not entries:
        raise UserError(f'{where} is empty. {hint}')
    by_name = {Path(name).name: index for index, name in enumerate(names)}
    by_name |= {name: index for index, name in enumerate(names)}
    found, unknown = set(), []
    for entry in entries:
        index = by_name.get(entry, by_name.get(os.path.splitext(entry)[0]))
        if index is None:
            unknown.append(entry)
        else:
            found.add(index)
    if not unknown:
        return frozenset(found)
    positions = [number for number in map(position, entries) if number is not None and number <= len(order)]
    if len(positions) == len(entries):
        return frozenset(order[number - 1] for number in positions)
    raise UserError(f'{where}: {unknown[0]!r} is none of the {len(names)} images ({names[0]}, ...). {hint}')
