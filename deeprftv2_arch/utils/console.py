"""The end of a command: an exit code, and one message about what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from deeprftv2_arch.utils.errors import UserError

PROGRAM_ERROR, USER_ERROR, INTERRUPTED = 1, 2, 130
"""Exit codes, as of Python after a traceback, of argparse, and of a shell."""


def exit_code(command: Callable[[], int | None], interrupted: str = 'Interrupted.') -> int:
    """Run a command and print on stderr what a user can correct, one mistake in a line.

    Args:
        command: Returns its exit code, None for 0.
        interrupted: Message after Ctrl+C.

    Returns:
        The exit code.
    """
    try:
        return command() or 0
    except UserError as error:
        return print_error(error)
    except BrokenProcessPool:
        message = 'A worker was killed, probably for lack of memory. Try fewer --workers.'
    except OSError as error:
        message = f'{error.strerror or error}: {error.filename or "while reading or writing"}'
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    return print_error(UserError(message))


def print_error(error: UserError) -> int:
    """Print a message, each line marked as an error.

    Returns:
        The exit code.
    """
    for line in str(error).splitlines():
        print(f'Error: {line}', file=sys.stderr)
    return USER_ERROR
