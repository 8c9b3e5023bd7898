"""What the demo prints: numbered steps with the time since the start, and progress bars."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_START = time.monotonic()


def say(text: str) -> None:
    """Print a line with the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _START), 60)
    print(f'[{minutes}:{seconds:02}] {text}', flush=True)


def progress(iterable: Iterable[Any] | None = None, **settings: Any) -> tqdm:
    """A progress bar that suits a terminal and a log file.

    In a terminal the bar redraws itself; in a file every redraw is a line of its own, so there it is a rare one.
    """
    in_terminal = sys.stderr.isatty()
    return tqdm(
        iterable,
        mininterval=0.2 if in_terminal else 30,
        ascii=None if in_terminal else ' #',
        bar_format='       {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt} {unit}s, {remaining} left{postfix}',
        **settings,
    )
