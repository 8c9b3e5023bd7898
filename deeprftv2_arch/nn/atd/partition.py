"""Shifted windows without shifting or masking: which pixels of a map attend to which.

Shifted-window attention is usually a cyclic shift, a cut into equal windows, and a mask that keeps apart what
the shift has brought together. What remains after the mask is an attention inside rectangles: whole windows inside, and
smaller ones along the border. Here the rectangles are listed directly. No map is moved, no masked pair is computed, and
a rectangle belongs to its own image by construction.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

# Each network keeps two tables per image size: with and without shift.
TABLES_KEPT = 8


class Span(NamedTuple):
    """Pixels along one axis: ``queries`` attend to ``keys``, which hold them."""

    queries: range
    keys: range

    @property
    def kind(self) -> tuple[int, int, int]:
        """Spans of one kind have the same relative positions: number of queries and keys, offset of the queries."""
        return len(self.queries), len(self.keys), self.queries.start - self.keys.start


def spans(length: int, window: int, shift: int = 0) -> list[Span]:
    """Cut one axis as shifted windows do; every pixel is a query of exactly one span.

    Windows start at the axis' first pixel, or for shifted windows at pixel ``shift``, from where they go round. If the
    axis is no multiple of the window, a last window is moved back to the end and only its uncovered pixels are queries.
    Nothing attends across the end of the axis, nor across the borders of the last, partly wrapped, window.

    Args:
        length: Pixels along the axis.
        window: Side of a window in pixels.
        shift: By how many pixels the windows are shifted.
    """
    size, shift = min(window, length), shift if shift < length else 0
    windows = [(start, start) for start in range(0, length - size + 1, size)]
    if length % size:
        windows.append((length - size, length - length % size))
    # Along the axis that starts at `shift` and goes round.
    cuts = [0, max(length - window, 0), length - shift, length] if shift else [0, length]
    found = []
    for start, first_query in windows:
        for low, high in pairwise(cuts):
            low, high = max(low, start), min(high, start + size)
            if max(low, first_query) < high:
                move = shift if low < length - shift else shift - length
                found.append(Span(range(max(low, first_query) + move, high + move), range(low + move, high + move)))
    return found


class Rectangles(NamedTuple):
    """All rectangles of one kind in a map.

    Attributes:
        queries: (R * L,) row-major indices of the query pixels, R rectangles with L pixels each.
        keys: (R * S,) the same of the key pixels; the very tensor ``queries`` where both are the same.
        positions: (L * S,) row of the bias table for every pair.
        shape: R, L, S.
    """

    queries: Tensor
    keys: Tensor
    positions: Tensor
    shape: tuple[int, int, int]


class Partition(NamedTuple):
    """How a map is cut.

    Attributes:
        rectangles: Grouped by kind.
        inverse: (H * W,) where each pixel is found among the queries of all groups, one after the other.
    """

    rectangles: list[Rectangles]
    inverse: Tensor


@lru_cache(maxsize=TABLES_KEPT)
@torch.inference_mode(False)  # tables made in inference mode could not be used in a training afterwards
def partition(height: int, width: int, window: int, shift: int, device: torch.device) -> Partition:
    """Cut a map of height x width pixels into windows of ``window`` pixels, shifted by ``shift`` along both axes.

    The tables of the last few sizes are kept.
    """
    groups = []
    columns_by_kind = _by_kind(spans(width, window, shift))
    for rows in _by_kind(spans(height, window, shift)):
        for columns in columns_by_kind:
            queries = _pixels([span.queries for span in rows], [span.queries for span in columns], width)
            keys = queries
            if rows[0].queries != rows[0].keys or columns[0].queries != columns[0].keys:
                keys = _pixels([span.keys for span in rows], [span.keys for span in columns], width)
            positions = torch.add(
                _distances(rows[0], window)[:, None, :, None] * (2 * window - 1),
                _distances(columns[0], window)[None, :, None, :],
            )
            count = len(rows) * len(columns)
            shape = (count, queries.numel() // count, keys.numel() // count)
            there = queries.to(device)
            keys = there if keys is queries else keys.to(device)
            groups.append(Rectangles(there, keys, positions.flatten().to(device), shape))
    inverse = torch.cat([group.queries for group in groups]).argsort()
    return Partition(groups, inverse)


def _by_kind(found: list[Span]) -> list[list[Span]]:
    groups: dict[tuple[int, int, int], list[Span]] = {}
    for span in found:
        groups.setdefault(span.kind, []).append(span)
    return [groups[kind] for kind in sorted(groups)]


def _pixels(rows: list[range], columns: list[range], width: int) -> Tensor:
    """Row-major indices of the pixels of every rectangle rows x columns, one rectangle after the other."""
    y, x = torch.tensor([list(span) for span in rows]), torch.tensor([list(span) for span in columns])
    return (y[:, None, :, None] * width + x[None, :, None, :]).flatten()


def _distances(span: Span, window: int) -> Tensor:
    """Return (queries, keys): query minus key, counted from zero."""
    return torch.tensor(span.queries)[:, None] - torch.tensor(span.keys) + window - 1
