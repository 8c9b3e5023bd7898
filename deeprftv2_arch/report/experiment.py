"""The content of the folder of a training: values, options, versions, warnings and contact sheets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from deeprftv2_arch.config.command_line import RESOLVED
from deeprftv2_arch.evaluation import contact_sheet
from deeprftv2_arch.models.training_log import FILE_NAME, read_values
from deeprftv2_arch.utils.errors import UserError

# Versions and warnings stand nowhere but in BasicSR's log.
_LOG_LINE = re.compile(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (?P<level>[A-Z]+): (?P<text>.*)$')
_VERSION = re.compile(r'^\s*((?:BasicSR|PyTorch|TorchVision): \S+)$')


@dataclass(frozen=True)
class Experiment:
    """The content of the folder of a training.

    Attributes:
        name: Name of the folder.
        values: For each logged name the pairs of iteration and value.
        options: Text of the option files that the training was started with, by file name.
        versions: What was in use: this package, BasicSR, PyTorch.
        warnings: Warnings and errors of the logs, in order, each once.
        better: For each metric of the options whether 'higher' or 'lower' is better.
        pictures: Paths of the pictures of the last validation, by data set.
        total: Iterations that the training is to have; None if no option file says so.
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
    resolved = _resolved(options)
    total = (resolved.get('train') or {}).get('total_iter')
    return Experiment(
        name=folder.resolve().name,
        values=read_values(file),
        options=options,
        versions=_versions(logs[-1]) if logs else [],
        warnings=_warnings(logs),
        better=_better(resolved),
        pictures=_pictures(folder / contact_sheet.FOLDER),
        total=None if total is None else int(total),
    )


def _resolved(options: Mapping[str, str]) -> dict[str, Any]:
    """Parse the options of the run; where BasicSR's own script ran, those of the file that it copied."""
    names = [RESOLVED] if RESOLVED in options else sorted(options, reverse=True)
    for name in names:
        try:
            content = yaml.safe_load(options[name])
        except yaml.YAMLError:
            continue  # a copy that cannot be read
        if isinstance(content, dict):
            return content
    return {}


def _versions(log: str) -> list[str]:
    """Return the versions that the last start has written to its log."""
    ours = re.findall(r'(deeprftv2_arch \S+) \(', log)
    basicsr = [match[1] for match in map(_VERSION.match, log.splitlines()) if match]
    return list(dict.fromkeys(ours + basicsr))


def _warnings(logs: Iterable[str]) -> list[str]:
    """Return warnings and errors, each once."""
    texts = []
    for line in chain.from_iterable(log.splitlines() for log in logs):
        match = _LOG_LINE.match(line)
        if match and match['level'] in ('WARNING', 'ERROR', 'CRITICAL'):
            texts.append(match['text'])
    return list(dict.fromkeys(texts))


def _better(options: Mapping[str, Any]) -> dict[str, str]:
    """Return which values of each metric are better, as far as the options say so."""
    metrics = (options.get('val') or {}).get('metrics') or {}
    return {name: metric.get('better', 'higher') for name, metric in metrics.items()}


def _pictures(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        return {}
    found = {path.name: sorted(path.rglob('*.png')) for path in sorted(folder.iterdir())}
    return {name: files for name, files in found.items() if files}
