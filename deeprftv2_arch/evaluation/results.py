"""What a test leaves behind: figures beside the paper's, every image in a CSV file, all of it in JSON."""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib
import inspect
import io
import json
import math
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.config.protocols import ALL, Protocol
from deeprftv2_arch.evaluation.scores import ImageScore, Metrics, Scores
from deeprftv2_arch.utils.atomic_file import write_atomically

RESULTS = 'results.json'
VERSIONS = ('deeprftv2_arch', 'basicsr', 'torch', 'numpy', 'scipy', 'cv2', 'skimage')


class Row(NamedTuple):
    """One figure beside that of the paper.

    Attributes:
        group: The images it is the mean of.
        images: Their number.
        metric: Its name.
        ours: The figure; None where the metric of the protocol was not measured.
        network: The network of the paper's row; empty where the paper has none.
        paper: The figure as printed there.
        difference: Ours less the paper's; None where the two cannot be compared.
    """

    group: str
    images: int
    metric: str
    ours: float | None
    network: str = ''
    paper: str = ''
    difference: float | None = None


@dataclass(frozen=True)
class DatasetResult:
    """A data set that was tested.

    Attributes:
        name: Its name in the option file.
        options: Its section of the option file.
        protocol: The published protocol that it follows, if any.
        metrics: What was measured.
        scores: The figures.
    """

    name: str
    options: Mapping[str, Any]
    protocol: Protocol | None
    metrics: Metrics
    scores: Scores

    @property
    def complete(self) -> bool:
        """Whether the figures of the paper are means over as many images."""
        return self.protocol is not None and len(self.scores.images) == self.protocol.expected_images

    def rows(self) -> Iterator[Row]:
        """Every figure of every group; beside it the paper's, if the protocol was followed."""
        published = {} if self.protocol is None else self._published_names(self.protocol)
        for group in (*self.scores.groups, ALL):
            images, means = len(self.scores.of(group)), self.scores.means(group)
            papers = [] if self.protocol is None else [row for row in self.protocol.paper if row.group == group]
            for metric, ours in means.items():
                figures = [(row.network, row.figures.get(published.get(metric, ''))) for row in papers]
                beside = [(network, paper) for network, paper in figures if paper is not None]
                for network, paper in beside or [('', '')]:
                    difference = ours - float(paper) if paper and self.complete else None
                    yield Row(group, images, metric, ours, network, paper, difference)
            for row in papers:
                for metric in (metric for metric in row.figures if metric not in published.values()):
                    yield Row(group, images, metric, None, row.network, row.figures[metric])

    def _published_names(self, protocol: Protocol) -> dict[str, str]:
        """Our names of the metrics that are measured as the protocol asks for, and its own names of them."""
        return {
            ours: theirs
            for theirs, asked in protocol.metrics.items()
            for ours, measured in self.metrics.items()
            if _arguments(asked) == _arguments(measured)
        }

    def describe(self) -> list[str]:
        """What the figures are figures of: lines for the log."""
        count = f'{len(self.scores.images):,} images'
        if self.protocol is not None:
            expected = f'{self.protocol.expected_images:,}'
            count += ', as expected' if self.complete else f', expected {expected}: not comparable with the paper'
        lines = [
            f'Protocol: {_name(self.protocol)}',
            f'Test mode: {self.scores.modes}',
            f'Data: {self.options.get("dataroot_lq")}, {self.options.get("dataroot_gt")}',
            f'Found: {count}',
        ]
        total = len(self.scores.images)
        return lines + [f'Remark: {remark} ({number:,} of {total:,})' for remark, number in self.scores.remarks.items()]

    def as_json(self) -> dict[str, Any]:
        """Everything but the single images."""
        return {
            'protocol': None if self.protocol is None else self.protocol.name,
            'how': None if self.protocol is None else self.protocol.how,
            'test_mode': self.scores.modes,
            'data': {key: self.options.get(f'dataroot_{key}') for key in ('lq', 'gt')},
            'images': len(self.scores.images),
            'expected_images': None if self.protocol is None else self.protocol.expected_images,
            'metrics': {name: dict(options) for name, options in self.metrics.items()},
            'figures': [{key: _finite(value) for key, value in row._asdict().items()} for row in self.rows()],
            'remarks': self.scores.remarks,
        }


def _name(protocol: Protocol | None) -> str:
    return 'none' if protocol is None else f'{protocol.name}: {protocol.how}'


def _arguments(metric: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A metric and all its arguments, so that one written with and one without a default are the same."""
    parameters = inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    arguments = {**defaults, **{key: value for key, value in metric.items() if key != 'type'}}
    arguments.pop('better', None)
    arguments.pop('trunk', None)  # where the same weights lie
    return metric['type'], arguments


def write_images(folder: Path, result: DatasetResult) -> Path:
    """Write the figures of every image to ``<data set>.csv``, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """

    def groups(image: ImageScore) -> str:
        return ' '.join(group for group, members in result.scores.groups.items() if image.index in members)

    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', 'group', *result.metrics, 'test_mode', 'remarks'])
    for image in result.scores.images:
        figures = [repr(image.figures[metric]) for metric in result.metrics]
        writer.writerow([image.name, groups(image), *figures, image.mode, '; '.join(image.remarks)])
    return write_atomically(folder / f'{result.name}.csv', text.getvalue())


def write_summary(folder: Path, opt: Mapping[str, Any], results: Mapping[str, DatasetResult]) -> Path:
    """Write all figures and what they depend on to ``results.json``, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    summary = {
        'name': opt['name'],
        'arguments': sys.argv[1:],
        'option_file': _file(_option_file()),
        'checkpoint': _file(opt['path'].get('pretrain_network_g')),
        'network': opt['network_g']['type'],
        'device': 'CPU' if opt['num_gpu'] == 0 else torch.cuda.get_device_name(),
        'processes': opt.get('world_size', 1),
        'versions': {'python': platform.python_version(), **{name: _version(name) for name in VERSIONS}},
        'datasets': {name: result.as_json() for name, result in results.items()},
    }
    return write_atomically(folder / RESULTS, json.dumps(summary, indent=2, default=str, allow_nan=False) + '\n')


def _option_file() -> str | None:
    """The option file that the command line names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('-opt')
    return parser.parse_known_args()[0].opt


def _file(path: str | None) -> dict[str, str] | None:
    if path is None or not Path(path).is_file():
        return None
    with open(path, 'rb') as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return {'path': str(path), 'sha256': digest.hexdigest()}


def _version(package: str) -> str:
    return str(importlib.import_module(package).__version__)


def _finite(value: Any) -> Any:
    """JSON has no infinity, which is the PSNR of equal images."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
