"""Checks on the mappings of an option file: keys we know, numbers that are numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest


def reject_unknown_keys(options: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse keys that nothing would read.

    Args:
        options: The mapping as read from the option file.
        known: Every key that has a meaning there.
        where: The place in the option file, such as ``train``.

    Raises:
        UserError: Naming each unknown key and the nearest known one.
    """
    unknown = [key for key in options if key not in known]
    if unknown:
        listed = ', '.join(f'{key!r}{nearest(str(key), known)}' for key in unknown)
        raise UserError(f'{where}: unknown key {listed}. Known keys: {", ".join(sorted(known))}.')


def positive_integer(options: Mapping[str, Any], key: str, where: str) -> int:
    """Read a required integer of at least 1; ``!!float 2e4`` is one.

    Raises:
        UserError: If the key is absent or holds something else.
    """
    value = options.get(key)
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole or value < 1:
        raise UserError(f'{where}.{key}: expected an integer of at least 1, got {value!r}.')
    return int(value)


def number(options: Mapping[str, Any], key: str, where: str) -> float:
    """Read a required number that is not negative.

    Raises:
        UserError: If the key holds something else; YAML reads ``1e-3`` as text, which is named when it happens.
    """
    value = options.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        hint = ' YAML takes 1e-3 for text: write 1.0e-3.' if isinstance(value, str) else ''
        raise UserError(f'{where}.{key}: expected a number of at least 0, got {value!r}.{hint}')
    return float(value)


def mixed_precision(options: Mapping[str, Any], where: str) -> bool:
    """Whether ``amp`` asks for bfloat16.

    Raises:
        UserError: It asks for something else; for float16 with the reason.
    """
    amp = options.get('amp')
    if amp in ('float16', 'fp16', 'half'):
        raise UserError(
            f'{where}.amp: {amp} is refused. The spectra in the network are sums over whole images, which pass '
            "float16's largest number, 65,504. Write bfloat16, which has the range of float32."
        )
    if amp not in (None, 'bfloat16'):
        raise UserError(f'{where}.amp: expected bfloat16, or ~ for float32, got {amp!r}.')
    return amp is not None


def height_and_width(options: Mapping[str, Any], key: str, where: str) -> tuple[int, int]:
    """Read a required size in pixels: the side of a square, or ``[height, width]``.

    Raises:
        UserError: If it is neither.
    """
    value = options.get(key)
    sides = [value, value] if isinstance(value, int) else value
    positive = isinstance(sides, Sequence) and all(type(side) is int and side > 0 for side in sides)
    if not positive or len(sides) != 2:
        raise UserError(f'{where}.{key}: expected an integer of at least 1 or [height, width], got {value!r}.')
    return sides[0], sides[1]
