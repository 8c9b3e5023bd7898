"""Results of a test: values beside the paper's, every image in a CSV file, all of it in JSON."""

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.config.protocols import ALL, PaperRow, Protocol
from deeprftv2_arch.evaluation.scores import Metrics, Scores
from deeprftv2_arch.utils.atomic_file import write_atomically

RESULTS = 'results.json'
"""Written into the folder of a test."""

SHOWN = 5
"""How many images a line names before it only counts."""

VERSIONS = ('deeprftv2_arch', 'basicsr', 'torch', 'numpy', 'scipy', 'cv2', 'skimage')


class Row(NamedTuple):
    """One metric value beside that of the paper.

    Attributes:
        group: The images it is the mean of.
        images: Their number.
        metric: Its name.
        ours: The value; None where the metric of the protocol was not measured.
        network: The network of the paper's row; empty where the paper has none.
        paper: The value as printed there.
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
        scores: What was found.
    """

    name: str
    options: Mapping[str, Any]
    protocol: Protocol | None
    metrics: Metrics
    scores: Scores

    @property
    def complete(self) -> bool:
        """Whether the values of the paper are means over as many images."""
        return self.protocol is not None and len(self.scores.images) == self.protocol.expected_images

    def rows(self) -> Iterator[Row]:
        """Yield every value of every group; beside it the paper's, if the protocol was followed."""
        published = self._published_names()
        for group in (*self.scores.groups, ALL):
            images = len(self.scores.of(group))
            papers = self._paper_rows(group)
            for metric, ours in self.scores.means(group).items():
                yield from self._beside_paper(Row(group, images, metric, ours), papers, published.get(metric))
            for paper in papers:
                for metric, printed in paper.values.items():
                    if metric not in published.values():
                        yield Row(group, images, metric, None, paper.network, printed)

    def _beside_paper(self, row: Row, papers: list[PaperRow], published: str | None) -> Iterator[Row]:
        """Yield one value beside that of each row of the paper that has it, or alone."""
        having = [paper for paper in papers if published in paper.values]
        if published is None or row.ours is None or not having:
            yield row
            return
        for paper in having:
            printed = paper.values[published]
            is_comparable = self.complete and math.isfinite(row.ours)
            difference = row.ours - float(printed) if is_comparable else None
            yield row._replace(network=paper.network, paper=printed, difference=difference)

    def _paper_rows(self, group: str) -> list[PaperRow]:
        if self.protocol is None:
            return []
        return [row for row in self.protocol.paper if row.group == group]

    def _published_names(self) -> dict[str, str]:
        """Return the protocol's name of each of our metrics that is measured as the protocol asks for."""
        names: dict[str, str] = {}
        if self.protocol is None:
            return names
        for published, asked in self.protocol.metrics.items():
            for ours, measured in self.metrics.items():
                if _arguments(asked) == _arguments(measured):
                    names[ours] = published
        return names

    def not_finite(self) -> list[str]:
        """Return a line for each metric that is infinite or NaN on some images, which names them."""
        lines = []
        for metric in self.metrics:
            images = self.scores.not_finite(metric)
            if images:
                names = ', '.join(f'{image.name} ({image.values[metric]})' for image in images[:SHOWN])
                more = f', ... ({len(images)} images)' if len(images) > SHOWN else ''
                lines.append(f'{metric} is not finite on {names}{more}')
        return lines

    def describe(self) -> list[str]:
        """Return lines for the log that say what was measured on what."""
        count = f'{len(self.scores.images):,} images'
        if self.complete:
            count += ', as expected'
        elif self.protocol is not None:
            count += f', expected {self.protocol.expected_images:,}: not comparable with the paper'
        lines = [
            f'Protocol: {_name(self.protocol)}',
            f'Test mode: {self.scores.modes}',
            f'Data: {self.options.get("dataroot_lq")}, {self.options.get("dataroot_gt")}',
            f'Found: {count}',
        ]
        lines += [f'Remark: {line}' for line in self.not_finite()]
        total = len(self.scores.images)
        for remark, images in self.scores.remarks.items():
            lines.append(f'Remark: {remark} ({images:,} of {total:,})')
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return everything but the single images."""
        protocol = self.protocol
        return {
            'protocol': protocol.name if protocol else None,
            'how': protocol.how if protocol else None,
            'test_mode': self.scores.modes,
            'data': {key: self.options.get(f'dataroot_{key}') for key in ('lq', 'gt')},
            'images': len(self.scores.images),
            'expected_images': protocol.expected_images if protocol else None,
            'metrics': {name: dict(options) for name, options in self.metrics.items()},
            'figures': [_row_as_json(row) for row in self.rows()],
            'remarks': self.scores.remarks,
            'not_finite': self.not_finite(),
        }


def _name(protocol: Protocol | None) -> str:
    return 'none' if protocol is None else f'{protocol.name}: {protocol.how}'


def _arguments(metric: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a metric and all its arguments, so that one written with and one without a default are the same."""
    arguments = {}
    for parameter in inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters.values():
        if parameter.default is not parameter.empty:
            arguments[parameter.name] = parameter.default
    arguments |= metric
    for key in ('type', 'better', 'trunk'):  # trunk: where the same weights lie
        arguments.pop(key, None)
    return metric['type'], arguments


def write_images(folder: Path, result: DatasetResult) -> Path:
    """Write the values of every image to ``<data set>.csv``, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', 'group', *result.metrics, 'test_mode', 'remarks'])
    for image in result.scores.images:
        groups = [group for group, members in result.scores.groups.items() if image.index in members]
        values = [repr(image.values[metric]) for metric in result.metrics]
        writer.writerow([image.name, ' '.join(groups), *values, image.mode, '; '.join(image.remarks)])
    return write_atomically(folder / f'{result.name}.csv', text.getvalue())


def write_summary(
    folder: Path, opt: Mapping[str, Any], results: Mapping[str, DatasetResult], notices: Sequence[str] = ()
) -> Path:
    """Write all values and what they depend on to ``results.json``, whole or not at all.

    Args:
        folder: Where to.
        opt: All options of the test, as BasicSR has parsed them.
        results: By the names of the data sets.
        notices: What must be known to read them.

    Raises:
        UserError: The file cannot be written.
    """
    summary = {
        'name': opt['name'],
        'notices': list(notices),
        'arguments': sys.argv[1:],
        'option_file': _file(_option_file()),
        'checkpoint': _file(opt['path'].get('pretrain_network_g')),
        'param_key': opt['path'].get('param_key_g', 'params'),
        'network': opt['network_g']['type'],
        'device': 'CPU' if opt['num_gpu'] == 0 else torch.cuda.get_device_name(),
        'processes': opt.get('world_size', 1),
        'versions': {'python': platform.python_version(), **{name: _version(name) for name in VERSIONS}},
        'datasets': {name: result.as_json() for name, result in results.items()},
    }
    return write_atomically(folder / RESULTS, json.dumps(summary, indent=2, default=str, allow_nan=False) + '\n')


def _option_file() -> str | None:
    """Return the option file that the command line names."""
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


def _row_as_json(row: Row) -> dict[str, Any]:
    content = row._asdict()
    for key in ('ours', 'difference'):
        # JSON has no infinity, which is the PSNR of equal images.
        if content[key] is not None and not math.isfinite(content[key]):
            content[key] = str(content[key])
    return content
