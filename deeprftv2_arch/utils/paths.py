"""Paths and text files as users write them: a home folder as `~`, and whatever byte order mark an editor left."""

from __future__ import annotations

import codecs
import os
from argparse import ArgumentTypeError
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
