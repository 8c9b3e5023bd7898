"""How a command ends: with an exit code, and with one message about what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from deeprftv2_arch.utils.errors import UserError

PROGRAM_ERROR, USER_ERROR, INTERRUPTED = 1, 2, 130
"""Exit codes: as Python after a traceback, argparse and the shell have them."""


def exit_code(command: Callable[[], int | None], interrupted: str = 'Interrupted.') -> int:
    """Run a command and say on stderr what a user can correct, each thing in a line of its own.

    Args:
        command: Returns its exit code, None for 0.
        interrupted: What to say after Ctrl+C.

    Returns:
        The exit code.
    """
    try:
        return command() or 0
    except UserError as error:
        return tell(error)
    except BrokenProcessPool:
        message = 'A worker was killed, probably for lack of memory. Try fewer --workers.'
    except OSError as error:
        message = f'{error.strerror or error}: {error.filename or "while reading or writing"}'
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    return tell(UserError(message))


def tell(error: UserError) -> int:
    """Say what is wrong, each line marked as an error. Returns the exit code."""
    for line in str(error).splitlines():
        print(f'Error: {line}', file=sys.stderr)
    return USER_ERROR
