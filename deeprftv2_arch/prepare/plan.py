"""The plan of a preparation: which files are to be made of which, and what became of each job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np


class Pair(NamedTuple):
    """A blurred and a sharp image of the download, and the stem that both get."""

    name: str
    blur: Path
    sharp: Path


class OutputFile(NamedTuple):
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


class JobResult(NamedTuple):
    """Result of one job.

    Attributes:
        name: Part and image that the job was about, for messages.
        files: The files that are there now.
        written: How many of them were written by this run.
        error: Why the job failed; empty if it did not.
        thumbnails: Those of the blurred and the sharp image, where the job was asked for them.
    """

    name: str
    files: tuple[OutputFile, ...] = ()
    written: int = 0
    error: str = ''
    thumbnails: tuple[np.ndarray, np.ndarray] | None = None


class OutputDirs(NamedTuple):
    """Folders that a job writes to.

    Attributes:
        out: The folder given as ``--out``.
        scratch: A folder on the same file system, for unfinished files.
    """

    out: Path
    scratch: Path


class Job(Protocol):
    """A function of a module, which worker processes can therefore find, that makes the files of one item."""

    def __call__(self, item: Any, dirs: OutputDirs) -> JobResult: ...


class Plan(NamedTuple):
    """Everything needed to prepare a set.

    Attributes:
        name: The set's name on the command line.
        layout: The layout of the download, in words.
        job: Makes the files of one item.
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
    job: Job
    items: Sequence[Any]
    counts: Mapping[str, tuple[int, int | None]]
    options: Mapping[str, Any]
    folders: Sequence[str]
    lmdb_folders: Sequence[str]
    texts: Mapping[str, str] = {}
    left_out: Sequence[Mapping[str, str]] = ()
    check_order: bool = False
