"""`deeprftv2 options`: check option files, or print the reference of all keys."""

from __future__ import annotations

import sys

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.config.load import read_checked, refuse_early
from deeprftv2_arch.config.yaml_file import read_option_file
from deeprftv2_arch.utils.console import print_error
from deeprftv2_arch.utils.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Check the files, or print the reference.

    Returns:
        The exit code: 2 if anything is wrong with a file.
    """
    parser = command_parser(
        'options', 'Check option files, or print the reference of all keys.', '> docs/options.md', 'FILE ...'
    )
    parser.add_argument('files', nargs='*', metavar='FILE', help='option files to check; none for the reference')
    files = parser.parse_args(arguments).files
    if not files:
        print(_reference(), end='')
    code = 0
    for file in files:
        try:
            _check(file)
        except UserError as error:
            code = print_error(error)
        else:
            print(f'{file}: nothing is wrong.')
    return code


def _reference() -> str:
    from deeprftv2_arch.basicsr_compat.registration import register_all

    register_all()
    from deeprftv2_arch.config.reference import reference
    from deeprftv2_arch.config.registries import Registries  # BasicSR is patched now

    return reference(Registries())


def _check(file: str) -> None:
    is_train = 'train' in read_option_file(file).options
    if 'basicsr' not in sys.modules:
        refuse_early(file, is_train=is_train)
        from deeprftv2_arch.basicsr_compat.registration import register_all

        register_all()
    read_checked(file, is_train=is_train)
