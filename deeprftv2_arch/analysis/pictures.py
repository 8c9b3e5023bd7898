"""Pictures of maps and tables, drawn with Matplotlib, and the numbers behind them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError


class Panel(NamedTuple):
    """A map under a title: (H, W) in a colour map, or (H, W, 3) RGB in [0, 1]."""

    title: str
    values: np.ndarray
    colours: str = 'gray'


def stretch(picture: np.ndarray, clip: float = 0.0) -> np.ndarray:
    """Bring a map to [0, 1].

    Args:
        picture: (H, W).
        clip: Share of the values cut off at either end, in [0, 0.5): a single bright one would leave all others dark.
    """
    low, high = np.quantile(picture, [clip, 1 - clip])
    return np.clip((picture - low) / max(high - low, np.finfo(np.float64).tiny), 0, 1)


def draw_panels(path: Path, rows: Sequence[Sequence[Panel]]) -> Path:
    """Write panels in rows as a PNG file.

    Raises:
        UserError: Matplotlib is not installed, or the file cannot be written.
    """
    figure = _figure(2.2 * max(map(len, rows)), 2.4 * len(rows))
    axes = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for place in line:
            place.set_axis_off()
        for panel, place in zip(row, line, strict=False):
            place.imshow(panel.values, cmap=panel.colours, interpolation='nearest')
            place.set_title(panel.title, fontsize=8)
    return _write(path, figure)


def draw_matrix(path: Path, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> Path:
    """Write a matrix of values in [0, 1] as a PNG file, each with its number.

    Raises:
        UserError: Matplotlib is not installed, or the file cannot be written.
    """
    figure = _figure(1.5 + 0.5 * len(columns), 1.5 + 0.4 * len(rows))
    place = figure.subplots()
    place.imshow(values, cmap='viridis', vmin=0, vmax=1, aspect='auto')
    place.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
    place.set_yticks(range(len(rows)), rows, fontsize=7)
    place.set_title(title, fontsize=9)
    for (row, column), value in np.ndenumerate(values):
        colour = 'black' if value > 0.6 else 'white'
        place.text(column, row, f'{value:.2f}', ha='center', va='center', fontsize=6, color=colour)
    return _write(path, figure)


def write_numbers(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays as an NPZ file.

    Raises:
        UserError: The file cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return write_atomically(path, content.getvalue())


def require_matplotlib() -> None:
    """Raise UserError if Matplotlib is not installed; to be called before what takes long."""
    _figure(1, 1)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            'Figures are drawn with Matplotlib, which is not installed. Try: pip install "deeprftv2_arch[plots]"'
        ) from error
    return Figure(figsize=(width, height), layout='constrained')


def _write(path: Path, figure: Any) -> Path:
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=150)
    return write_atomically(path, content.getvalue())
