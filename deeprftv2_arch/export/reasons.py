"""Why a network cannot be exported, in one line: the part that stands in the way, and what it does."""

from __future__ import annotations

import re
from types import TracebackType

from torch import nn

_TERMINAL_COLOURS = re.compile(r'\x1b\[[0-9;]*m')


def why_not(error: BaseException, module: nn.Module) -> str:
    """Describe the failure of an export.

    Args:
        error: What the exporter raised.
        module: What it was given.

    Returns:
        Part and reason, without a full stop.
    """
    chain = _chain(error)
    reason = next((line for cause in reversed(chain) if (line := _first_line(cause))), type(error).__name__)
    names = {id(part): name for name, part in module.named_modules()}
    for cause in reversed(chain):
        part = _deepest_part(cause.__traceback__, names)
        if part:
            return f'{part}: {reason}'
    return reason


def _chain(error: BaseException) -> list[BaseException]:
    """An error and its causes, the first one last."""
    found = [error]
    while found[-1].__cause__ is not None:
        found.append(found[-1].__cause__)
    return found


def _first_line(error: BaseException) -> str:
    lines = _TERMINAL_COLOURS.sub('', str(error)).strip().splitlines()
    return lines[0].strip().rstrip('.') if lines else ''


def _deepest_part(trace: TracebackType | None, names: dict[int, str]) -> str:
    """The innermost module of a network that was at work, and its class."""
    found = ''
    while trace is not None:
        part = trace.tb_frame.f_locals.get('self')
        if isinstance(part, nn.Module) and names.get(id(part)):
            found = f'{names[id(part)].removeprefix("net.")} ({type(part).__name__})'
        trace = trace.tb_next
    return found
