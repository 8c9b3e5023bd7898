"""Curves over the iterations, as SVG to be put into a page."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprftv2_arch.utils.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[int, float]]

_COLOURS = ('#2563a8', '#c2571a', '#3b7f4a', '#8a4fa3', '#7a6a2b', '#b03a5b')
_LONG = 60
"""Noisy series longer than this are drawn pale, with their running mean on top; shorter ones with their points."""

_STYLE: dict[Any, Any] = {
    'font.family': 'sans-serif',
    'font.size': 9,
    'svg.fonttype': 'none',  # text stays text: small, sharp, and searched by the browser
    'svg.hashsalt': 'curves',  # the same values give the same file
    'axes.edgecolor': '#9aa3ad',
    'axes.labelcolor': '#3a424b',
    'xtick.color': '#5b646e',
    'ytick.color': '#5b646e',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#e3e7eb',
    'legend.frameon': False,
}


def draw_curves(series: Mapping[str, Points], *, logarithmic: bool = False, smooth: bool = True) -> str:
    """Draw series of one quantity over the iterations.

    Args:
        series: Pairs of iteration and value, by the name for the legend. Values that are not finite are left out.
        logarithmic: Whether the axis of the values is logarithmic; ignored where a value is not positive.
        smooth: Whether long series are noisy, and drawn with their running mean.

    Returns:
        An ``<svg>`` element, 5.2 x 2.6 inches.

    Raises:
        UserError: Matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter, MaxNLocator
    except ImportError as error:
        raise UserError('The report draws with Matplotlib, which is not installed. Try: pip install matplotlib') from (
            error
        )
    finite: dict[str, Points] = {}
    for name, points in series.items():
        finite[name] = [(x, y) for x, y in points if math.isfinite(y)]
    all_values = [y for points in finite.values() for _, y in points]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 2.6), layout='constrained')
        axes = figure.add_subplot()
        for (name, points), colour in zip(finite.items(), cycle(_COLOURS)):
            _draw(axes, points, name, colour, smooth)
        if logarithmic and all(y > 0 for y in all_values):
            axes.set_yscale('log')
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=''))
        axes.set_xlabel('iteration')
        if len(finite) > 1:
            axes.legend(fontsize=8)
        svg = io.StringIO()
        figure.savefig(svg, format='svg', transparent=True, metadata={'Date': None})
    text = svg.getvalue()
    return text[text.index('<svg') :]


def _draw(axes: Axes, points: Points, name: str, colour: str, smooth: bool) -> None:
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    if len(y) <= _LONG:
        axes.plot(x, y, color=colour, linewidth=1.6, label=name, marker='.')
    elif smooth:
        axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(x, _running_mean(y, len(y) // 25), color=colour, linewidth=1.6, label=name)
    else:
        axes.plot(x, y, color=colour, linewidth=1.6, label=name)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Average over a centred window, which is cut off at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - window, 0), np.minimum(index + window + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
