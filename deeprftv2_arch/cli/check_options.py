"""`deeprftv2 options`: check option files, or print what is made from the declared keys."""

from __future__ import annotations

import json
import sys

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.config.load import read_checked
from deeprftv2_arch.config.yaml_file import read_option_file
from deeprftv2_arch.utils.console import print_error
from deeprftv2_arch.utils.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Check the files, or print the reference.

    Returns:
        The exit code: 2 if anything is wrong with a file.
    """
    parser = command_parser(
        'options',
        'Check option files, or print the reference of all keys.',
        '> docs/options.md',
        '--schema > options.json',
        'FILE ...',
    )
    parser.add_argument('files', nargs='*', metavar='FILE', help='option files to check; none for the reference')
    parser.add_argument('--schema', action='store_true', help='print a JSON schema for editors')
    parser.add_argument('--names', action='store_true', help='print what belongs into deeprftv2_arch/config/names.json')
    given = parser.parse_args(arguments)
    if not given.files:
        print(_made(given.schema, given.names), end='')
    code = 0
    for file in given.files:
        try:
            _check(file)
        except UserError as error:
            code = print_error(error)
        else:
            print(f'{file}: nothing is wrong.')
    return code


def _made(schema: bool, names: bool) -> str:
    from deeprftv2_arch.basicsr_compat.registration import register_all
    from deeprftv2_arch.config.components import as_json, registered
    from deeprftv2_arch.config.reference import editor_schema, reference

    register_all()
    if schema:
        return json.dumps(editor_schema(registered()), indent=1) + '\n'
    return as_json() if names else reference(registered())


def _check(file: str) -> None:
    is_train = 'train' in read_option_file(file).options
    if 'basicsr' not in sys.modules:
        read_checked(file, is_train=is_train, early=True)
        from deeprftv2_arch.basicsr_compat.registration import register_all

        register_all()
    for warning in read_checked(file, is_train=is_train).warnings:
        print(f'Warning: {warning}')
