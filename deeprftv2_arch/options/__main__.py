"""Print the reference of all keys, or check option files.

python -m deeprftv2_arch.options > docs/options.md
python -m deeprftv2_arch.options FILE ...
"""

from __future__ import annotations

import argparse
import sys

from deeprftv2_arch.console import exit_code, tell
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.options.checked import read_checked, refuse_early
from deeprftv2_arch.options.yaml_file import read_option_file


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code: 2 if anything is wrong with a file."""
    parser = argparse.ArgumentParser(
        prog='python -m deeprftv2_arch.options', description='Print the reference of all keys, or check option files.'
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
            code = tell(error)
        else:
            print(f'{file}: nothing is wrong.')
    return code


def _reference() -> str:
    from deeprftv2_arch.registration import register_all

    register_all()
    from deeprftv2_arch.options.reference import reference
    from deeprftv2_arch.options.registries import Registries  # the toolbox is mended now

    return reference(Registries())


def _check(file: str) -> None:
    is_train = 'train' in read_option_file(file).options
    if 'basicsr' not in sys.modules:
        refuse_early(file, is_train=is_train)
        from deeprftv2_arch.registration import register_all

        register_all()
    read_checked(file, is_train=is_train)


if __name__ == '__main__':
    sys.exit(exit_code(main))
