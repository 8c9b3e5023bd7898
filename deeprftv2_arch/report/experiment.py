"""What the folder of a training tells: values, options, versions, warnings and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from deeprftv2_arch.evaluation import contact_sheet
from deeprftv2_arch.models.training_log import FILE_NAME, read_values
from deeprftv2_arch.utils.errors import UserError

_LOG_LINE = re.compile(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (?P<level>[A-Z]+): (?P<text>.*)$')
_VERSION = re.compile(r'^\s*((?:BasicSR|PyTorch|TorchVision): \S+)$')
_TOTAL = re.compile(r'^\s+total_iter: (\d+)$', flags=re.MULTILINE)


@dataclass(frozen=True)
class Experiment:
    """A training as its folder tells it.

    Attributes:
        name: Name of the folder.
        values: For each logged name the pairs of iteration and value.
        options: Text of the option files that the training was started with, by file name.
        versions: What was in use: this package, BasicSR, PyTorch.
        warnings: Warnings and errors of the logs, in order, each once.
        better: For each metric of the options whether 'higher' or 'lower' is better.
        pictures: Paths of the pictures of the last validation, by data set.
        total: Iterations that the training is to have; None if no log tells.
    """

    name: str
    values: dict[str, list[tuple[int, float]]]
    options: dict[str, str]
    versions: list[str]
    warnings: list[str]
    better: dict[str, str]
    pictures: dict[str, list[Path]]
    total: int | None

    @property
    def iteration(self) -> int:
        """The last iteration that a value was logged of; 0 before the first."""
        return max((points[-1][0] for points in self.values.values()), default=0)


def read_experiment(folder: str | Path) -> Experiment:
    """Read the folder of a training. Nothing in it is changed.

    Args:
        folder: `experiments/NAME`, as BasicSR lays it out.

    Raises:
        UserError: It is not such a folder, or nothing was logged in it yet.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'There is no folder {folder.absolute()}. Give the folder of an experiment: experiments/NAME.')
    file = folder / FILE_NAME
    if not file.is_file():
        raise UserError(
            f'{folder} has no {FILE_NAME}. It is written by DeblurModel from the first logged iteration on '
            '(logger.print_freq); give a folder below experiments/ in which one was reached.'
        )
    logs = [path.read_text(encoding='utf-8', errors='replace') for path in sorted(folder.glob('train_*.log'))]
    options = {path.name: path.read_text(encoding='utf-8') for path in sorted(folder.glob('*.yml'))}
    totals = [int(total) for log in logs for total in _TOTAL.findall(log)]
    return Experiment(
        name=folder.resolve().name,
        values=read_values(file),
        options=options,
        versions=_versions(logs[-1]) if logs else [],
        warnings=_warnings(logs),
        better=_better(options.values()),
        pictures=_pictures(folder / contact_sheet.FOLDER),
        total=totals[-1] if totals else None,
    )


def _versions(log: str) -> list[str]:
    """The versions that the last start has written to its log."""
    found = [match[1] for line in log.splitlines() if (match := _VERSION.match(line))]
    ours = re.findall(r'deeprftv2_arch \S+ \(', log)
    return [text.removesuffix(' (') for text in dict.fromkeys(ours)] + list(dict.fromkeys(found))


def _warnings(logs: list[str]) -> list[str]:
    lines = [match for log in logs for line in log.splitlines() if (match := _LOG_LINE.match(line))]
    return list(dict.fromkeys(match['text'] for match in lines if match['level'] in ('WARNING', 'ERROR', 'CRITICAL')))


def _better(options: Iterable[str]) -> dict[str, str]:
    better = {}
    for text in options:
        try:
            metrics = yaml.safe_load(text)['val']['metrics']
            better |= {name: metric.get('better', 'higher') for name, metric in metrics.items()}
        except (yaml.YAMLError, KeyError, TypeError, AttributeError):
            continue  # a copy that cannot be read, or a training without validation
    return better


def _pictures(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        return {}
    return {path.name: files for path in sorted(folder.iterdir()) if (files := sorted(path.rglob('*.png')))}
