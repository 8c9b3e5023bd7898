"""Which photographs show the same: copies of one another, and photographs of one scene."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

COPY = 0.985
"""Correlation of thumbnails from which on one of two photographs is left out as a copy."""

SAME_SCENE = 0.9
"""Correlation from which on two photographs stay together on one side of the split."""

NEIGHBOURS = 2
"""Difference of two file numbers, as in ``IMG_1234``, up to which the camera may not have moved."""

VALIDATION_SHARE = 0.08
VALIDATION_MOST = 40

_LAST_NUMBER = re.compile(r'(.*?)(\d+)(\D*)')
"""What stands before the last number of a name, the number, and what follows."""


def find_copies(thumbnails: Sequence[np.ndarray], worth: Sequence[float]) -> dict[int, int]:
    """Find photographs that are nearly another one.

    Args:
        thumbnails: Thumbnails of all photographs.
        worth: Of two that are alike the one of more worth is kept, and of equal ones the first.

    Returns:
        For each photograph to leave out, the one that is kept in its place.
    """
    if not len(thumbnails):
        return {}
    table = np.stack(thumbnails)
    order = sorted(range(len(worth)), key=lambda index: (-worth[index], index))
    copies: dict[int, int] = {}
    kept: list[int] = []
    for index in order:
        if kept:
            correlations = table[kept] @ table[index]
            nearest = int(correlations.argmax())
            if correlations[nearest] >= COPY:
                copies[index] = kept[nearest]
                continue
        kept.append(index)
    return copies


def group_scenes(names: Sequence[str], thumbnails: Sequence[np.ndarray]) -> list[list[int]]:
    """Put together what may show the same scene: neighbouring numbers in one folder, or similar thumbnails.

    Args:
        names: Paths below the source, with forward slashes.
        thumbnails: Thumbnails, in the same order.

    Returns:
        Groups of indices; what is linked through a third photograph is one group.
    """
    leader = list(range(len(names)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    table = np.stack(thumbnails)
    for index in range(len(names)):
        alike = np.flatnonzero(table[:index] @ table[index] >= SAME_SCENE)
        for other in alike.tolist():
            leader[find(index)] = find(other)
    for index, other in _neighbours(names):
        leader[find(index)] = find(other)
    groups: dict[int, list[int]] = {}
    for index in range(len(names)):
        groups.setdefault(find(index), []).append(index)
    return list(groups.values())


def choose_validation(names: Sequence[str], groups: Sequence[Sequence[int]]) -> set[int]:
    """Choose whole groups for validation, as a function of their names alone.

    Returns:
        Indices of about 8 % of the photographs, at most 40; at least one if there are two groups.
    """
    wanted = min(max(round(VALIDATION_SHARE * len(names)), 1), VALIDATION_MOST)
    chosen: set[int] = set()
    if len(groups) < 2:
        return chosen
    for group in sorted(groups, key=lambda group: _shuffled(names[group[0]])):
        if len(group) <= wanted - len(chosen):
            chosen.update(group)
    smallest = min(groups, key=len)
    return chosen or set(smallest)


def _neighbours(names: Sequence[str]) -> list[tuple[int, int]]:
    numbered: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        path = PurePosixPath(name)
        match = _LAST_NUMBER.fullmatch(path.stem)
        if match:
            before, number, after = match.groups()
            numbered.setdefault((str(path.parent), before, after), []).append((int(number), index))
    pairs = []
    for members in numbered.values():
        members.sort()
        for (number, index), (following, other) in itertools.pairwise(members):
            if following - number <= NEIGHBOURS:
                pairs.append((index, other))
    return pairs


def _shuffled(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
