"""The console script `deeprftv2`, equal to `python -m deeprftv2_arch`: finds the command and runs it."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

from deeprftv2_arch._version import __version__
from deeprftv2_arch.utils.console import USER_ERROR, exit_code
from deeprftv2_arch.utils.suggest import nearest


class Command(NamedTuple):
    """A command: a module of this folder with a function `main(arguments)`.

    Attributes:
        module: Its name in `deeprftv2_arch.cli`.
        help: What it does, in one line.
        registers: Whether BasicSR must be patched and our names registered before the module is imported. Commands that
            check their input first register by themselves.
        interrupted: What to say after Ctrl+C.
    """

    module: str
    help: str
    registers: bool = True
    interrupted: str = 'Interrupted.'


COMMANDS = {
    'restore': Command(
        'restore',
        'restore blurred photographs',
        registers=False,
        interrupted='Interrupted. Run the same command again to go on.',
    ),
    'page': Command('page', 'restore photographs in the browser', registers=False),
    'evaluate-photos': Command(
        'evaluate_photos', 'measure a network on photographs, blurred and sharp', registers=False
    ),
    'train': Command('train', 'train with an option file', registers=False),
    'test': Command('test', 'test with an option file: restore, measure, compare with the paper', registers=False),
    'prepare': Command(
        'prepare',
        'make the folders that the option files name from a downloaded data set',
        interrupted='Interrupted. Run the same command again to go on.',
    ),
    'check': Command('check_data', 'decode and count every image of a prepared data set'),
    'options': Command('check_options', 'check option files, or print the reference of all keys', registers=False),
    'metrics': Command('check_metrics', 'check the metrics against exact identities and published values'),
    'convert': Command('convert', 'convert weights between the published key names and ours'),
    'export': Command('export', 'write a network as an ONNX file', registers=False),
    'attach': Command('attach', 'register our names in an unmodified BasicSR checkout', registers=False),
    'report': Command('report', 'write an HTML page about a training'),
    'complexity': Command('complexity', 'count the parameters and operations of a network'),
    'ablations': Command(
        'ablations',
        "the rows of the paper's tables 6 and 7: list, option files, training in small",
        interrupted='Interrupted. Run the same command again to go on.',
    ),
    'analyze': Command('analyze', "draw the paper's figures 2, 6, 7 and 8 from images and checkpoints"),
}


def main() -> int:
    """Run the command that `sys.argv` names.

    Returns:
        The exit code: 0; 1 if the command found something; 2 after a user's mistake, one line for each; 130 after
        Ctrl+C.
    """
    name, arguments = (sys.argv[1:2] or ['--help'])[0], sys.argv[2:]
    if name in ('-h', '--help'):
        print(_help())
        return 0
    if name == '--version':
        print(f'deeprftv2_arch {__version__}')
        return 0
    command = COMMANDS.get(name)
    if command is None:
        print(f'Error: there is no command {name!r}{nearest(name, COMMANDS)}. Try deeprftv2 --help.', file=sys.stderr)
        return USER_ERROR
    return exit_code(lambda: _run(command, arguments), interrupted=command.interrupted)


def _run(command: Command, arguments: list[str]) -> int | None:
    wants_help = '-h' in arguments or '--help' in arguments
    if command.registers and not wants_help:
        from deeprftv2_arch.basicsr_compat.registration import register_all

        register_all()
    return importlib.import_module(f'deeprftv2_arch.cli.{command.module}').main(arguments)


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = '\n'.join(f'  {name:{width}}  {command.help}' for name, command in COMMANDS.items())
    return (
        'usage: deeprftv2 COMMAND ...\n\n'
        'Image deblurring with DeepRFTv2, as a plugin of BasicSR.\n\n'
        f'{commands}\n\n'
        'deeprftv2 COMMAND --help shows the arguments of a command, with an example.'
    )
