"""What the module of a data set hands to the builder: which files are to be made of which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Pair(NamedTuple):
    """A blurred and a sharp image of the download, and the stem that both get."""

    name: str
    blur: Path
    sharp: Path


class Made(NamedTuple):
    """A finished file.

    Attributes:
        file: Its path below ``--out``, with forward slashes.
        height, width: Its size in pixels.
        bit_depth: Bits per channel, 8 or 16.
    """

    file: str
    height: int
    width: int
    bit_depth: int


class Outcome(NamedTuple):
    """What became of one job.

    Attributes:
        name: What the job was about, for messages.
        made: The files that are there now.
        written: How many of them were written just now.
        error: Why the job failed; empty if it did not.
        likeness: Fingerprints of the blurred and the sharp image, where the job was asked for them.
    """

    name: str
    made: tuple[Made, ...] = ()
    written: int = 0
    error: str = ''
    likeness: tuple[np.ndarray, np.ndarray] | None = None


class Place(NamedTuple):
    """Where a job puts its files.

    Attributes:
        out: The folder given as ``--out``.
        scratch: A folder on the same file system, for files that are not finished.
    """

    out: Path
    scratch: Path


class Plan(NamedTuple):
    """All that is needed to prepare a set.

    Attributes:
        name: The set's name on the command line.
        layout: The layout of the download, in words.
        job: Makes the files of one item; called in worker processes, so it must be a function of a module.
        items: What ``job`` is called with, one after the other.
        counts: Per part, how many images or pairs were found, and how many there are known to be.
        options: The settings that change the content of files.
        folders: The folders at the top of ``--out`` that are filled.
        lmdb_folders: Folders below ``--out`` that ``--lmdb`` makes databases of.
        texts: Small text files to write below ``--out``, by path.
        left_out: Images that the plan itself leaves out, as the manifest names them: ``image`` and ``reason``.
        check_order: Whether pairs were made by their order, which the images must then confirm.
    """

    name: str
    layout: str
    job: Callable[[Any, Place], Outcome]
    items: Sequence[Any]
    counts: Mapping[str, tuple[int, int | None]]
    options: Mapping[str, Any]
    folders: Sequence[str]
    lmdb_folders: Sequence[str]
    texts: Mapping[str, str] = {}
    left_out: Sequence[Mapping[str, str]] = ()
    check_order: bool = False
