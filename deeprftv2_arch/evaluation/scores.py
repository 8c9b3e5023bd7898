"""The figures of the images of one data set: measured one by one, averaged over all and over groups."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from deeprftv2_arch.evaluation.protocols import ALL
from deeprftv2_arch.metrics.info import MetricWarning
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.list_file import read_list_file
from deeprftv2_arch.utils.natural_sort import natural_sort_key

Metrics = Mapping[str, Mapping[str, Any]]
"""As under ``val.metrics``: by a name of the user's choice ``type`` and arguments."""


class ImageScore(NamedTuple):
    """What was found out about one image.

    Attributes:
        index: Its number in the data set.
        name: Its blurred file, or LMDB key.
        figures: By the name of the metric.
        remarks: What the metrics had to say, each once.
        mode: How the network restored it, in words.
    """

    index: int
    name: str
    figures: dict[str, float]
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
        """The images of a group, or of all."""
        return [image for image in self.images if group == ALL or image.index in self.groups[group]]

    def means(self, group: str = ALL) -> dict[str, float]:
        """Mean of each figure over the images of a group.

        The sums are exact before they are rounded once, so that neither order nor number of processes is seen.
        """
        images = self.of(group)
        return {
            metric: math.fsum(image.figures[metric] for image in images) / len(images) for metric in images[0].figures
        }

    @property
    def modes(self) -> str:
        """How the images were restored, each way once."""
        return '; '.join(dict.fromkeys(image.mode for image in self.images if image.mode)) or 'whole images'

    @property
    def remarks(self) -> dict[str, int]:
        """On how many images each remark was made."""
        counts: dict[str, int] = {}
        for remark in (remark for image in self.images for remark in image.remarks):
            counts[remark] = counts.get(remark, 0) + 1
        return counts


def better(metric: Mapping[str, Any]) -> str:
    """Which figures are better, ``'higher'`` or ``'lower'``: as the options say, else as the metric says."""
    return metric.get('better') or getattr(METRIC_REGISTRY.get(metric['type']), 'better', 'higher')


def measure(metrics: Metrics, restored: Tensor, sharp: Tensor) -> tuple[dict[str, float], tuple[str, ...]]:
    """Measure one image.

    Args:
        metrics: What to measure. Metrics marked as ``unquantized`` are handed float32 in [0, 1], the others uint8, all
            of them (H, W, 3) in BGR order as in BasicSR.
        restored: (1, 3, H, W), RGB, clipped here to [0, 1].
        sharp: Image of the same shape.

    Returns:
        The figures by name, and what the metrics had to say.
    """
    handed: dict[type, dict[str, np.ndarray]] = {}
    figures = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', MetricWarning)
        for name, options in metrics.items():
            unquantized = getattr(METRIC_REGISTRY.get(options['type']), 'unquantized', False)
            kind = np.float32 if unquantized else np.uint8
            if kind not in handed:
                handed[kind] = {
                    role: tensor2img(image, out_type=kind) for role, image in (('img', restored), ('img2', sharp))
                }
            figures[name] = float(calculate_metric(handed[kind], dict(options)))
    remarks = dict.fromkeys(str(entry.message) for entry in caught if issubclass(entry.category, MetricWarning))
    for entry in caught:
        if not issubclass(entry.category, MetricWarning):
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
    return figures, tuple(remarks)


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
    by_name = {Path(name).name: index for index, name in enumerate(names)}
    by_name |= {name: index for index, name in enumerate(names)}
    found = [by_name.get(entry, by_name.get(os.path.splitext(entry)[0])) for entry in entries]
    if None in found and all(entry.isdigit() and 1 <= int(entry) <= len(order) for entry in entries):
        found = [order[int(entry) - 1] for entry in entries]
    if not found:
        raise UserError(f'{where} is empty. Write the name of an image on each line, or its position, counted from 1.')
    if None in found:
        raise UserError(
            f'{where}: {entries[found.index(None)]!r} is none of the {len(names)} images ({names[0]}, ...). Write the '
            'name of an image on each line, or its position, counted from 1.'
        )
    return frozenset(found)
