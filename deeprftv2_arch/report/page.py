"""The page itself: the content of the folder, put into the template."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from deeprftv2_arch.report.curves import Points, draw_curves
from deeprftv2_arch.report.experiment import Experiment

_SHOWN_PICTURES = 6


class Chart(NamedTuple):
    """A drawn chart with its heading."""

    title: str
    svg: str


class Score(NamedTuple):
    """The course of one metric on one data set."""

    dataset: str
    metric: str
    first: float
    last: float
    best: float
    best_iteration: int


def render(experiment: Experiment) -> str:
    """Write the page.

    Args:
        experiment: What is known of the training.

    Returns:
        HTML that refers to nothing outside itself: curves are inline SVG, pictures data URLs.
    """
    environment = Environment(
        loader=PackageLoader('deeprftv2_arch.report', '.'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['number'] = _number
    environment.filters['data_url'] = _data_url
    return environment.get_template('page.html').render(
        experiment=experiment,
        scores=_scores(experiment.values, experiment.better),
        charts=_charts(experiment.values),
        pictures={name: files[:_SHOWN_PICTURES] for name, files in experiment.pictures.items()},
        last={name: points[-1][1] for name, points in experiment.values.items()},
    )


def _scores(values: Mapping[str, Points], better: Mapping[str, str]) -> list[Score]:
    scores = []
    for name, points in values.items():
        if name.startswith('val/') and points:
            _, dataset, metric = name.split('/', 2)
            pick = min if better.get(metric) == 'lower' else max
            iteration, best = pick(points, key=lambda point: point[1])
            scores.append(Score(dataset, metric, points[0][1], points[-1][1], best, iteration))
    return scores


def _charts(values: Mapping[str, Points]) -> list[Chart]:
    training: dict[str, Points] = {}
    validation: dict[str, dict[str, Points]] = {}  # by metric, then by data set
    for name, points in values.items():
        kind, _, rest = name.partition('/')
        if kind == 'train':
            training[rest] = points
        elif kind == 'val':
            dataset, metric = rest.split('/', 1)
            validation.setdefault(metric, {})[dataset] = points

    terms = [name for name in training if name.startswith('l_') and name != 'l_total']
    charts = [
        _chart('Total loss', training, ['l_total'], logarithmic=True),
        _chart('Loss terms', training, terms if len(terms) > 1 else []),
        _chart('Learning rate', training, ['lr'], smooth=False),
        _chart('Norm of the gradient', training, ['grad_norm'], logarithmic=True),
        _chart('Images per second', training, ['images_per_second']),
    ]
    drawn = [chart for chart in charts if chart is not None]
    for metric, series in validation.items():
        drawn.append(Chart(f'Validation: {metric}', draw_curves(series)))
    return drawn


def _chart(title: str, values: Mapping[str, Points], names: list[str], **style: bool) -> Chart | None:
    """Draw those names that were logged; None if none was."""
    series = {name: values[name] for name in names if values.get(name)}
    return Chart(title, draw_curves(series, **style)) if series else None


def _number(value: float) -> str:
    return f'{value:.4g}' if abs(value) < 10 else f'{value:.2f}'


def _data_url(picture: Path) -> str:
    return 'data:image/png;base64,' + base64.b64encode(picture.read_bytes()).decode('ascii')
