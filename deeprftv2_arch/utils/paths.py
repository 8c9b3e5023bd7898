"""Paths and text files as users write them: a home folder as `~`, and whatever byte order mark an editor left."""

from __future__ import annotations

import codecs
import os
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path

_MARKS = {
    codecs.BOM_UTF8: 'utf-8-sig',
    codecs.BOM_UTF16_LE: 'utf-16',
    codecs.BOM_UTF16_BE: 'utf-16',
}
"""What Windows programs put before a text, and the encoding that it tells of."""


def expand(path: str | Path) -> str:
    """Put the home folder in the place of a leading `~`.

    >>> expand('~/data') == os.path.expanduser('~') + '/data'
    True
    """
    return os.path.expanduser(path)


def argument(text: str) -> Path:
    """Read a path of the command line; a shell leaves the `~` of ``--out=~/data`` as it is.

    Raises:
        ArgumentTypeError: The text is empty, which would stand for the current folder.
    """
    if not text.strip():
        raise ArgumentTypeError('a path is empty; write . for the current folder')
    return Path(expand(text))


def read_text_file(path: str | Path) -> str:
    """Read a text in UTF-8; or in UTF-16, if a byte order mark says so. The mark is no part of the text.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: It is not text in that encoding.
    """
    data = Path(expand(path)).read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), 'utf-8')
    return data.decode(encoding)


def walk(root: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder as `os.walk` does, through symbolic links too, but not into a folder that is being walked already.

    A link to a folder above itself would otherwise give every file dozens of times, under longer and longer paths.
    """
    above = {str(root): frozenset({os.path.realpath(root)})}
    for folder, folders, files in os.walk(root, followlinks=True):
        passed = above[folder]
        for name in list(folders):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if real in passed:
                folders.remove(name)
            above[path] = passed | {real}
        yield folder, folders, files
