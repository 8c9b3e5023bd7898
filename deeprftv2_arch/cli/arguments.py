"""Argument parsers of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Literal

from deeprftv2_arch.utils.errors import UserError


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Make the parser of one command.

    Args:
        name: The command, as `deeprftv2` knows it.
        description: What it does.
        examples: Command lines to show at the end of the help, without `deeprftv2 NAME`.
    """
    program = f'deeprftv2 {name}'
    lines = '\n'.join(f'  {program} {example}' for example in examples)
    parser = argparse.ArgumentParser(prog=program, description=description, epilog=f'example:\n{lines}')
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def number_in(low: float, high: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    """Make the type of an argument that is a number within limits, `int` or `float`."""

    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'expected a number from {low} to {high}, got {text!r}')
        return value

    return number


def tile_size(text: str) -> int | Literal['auto'] | None:
    """What `--tile` says: a number of pixels, `auto` or `none`.

    Raises:
        UserError: It is none of these.
    """
    if text == 'auto':
        return 'auto'
    if text == 'none':
        return None
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f'--tile: expected a number of pixels, auto or none, got {text!r}.') from error
