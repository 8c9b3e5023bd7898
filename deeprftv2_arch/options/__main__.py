"""Print the reference of all keys, or check option files.

python -m deeprftv2_arch.options > docs/options.md
python -m deeprftv2_arch.options FILE ...
"""

from __future__ import annotations

import argparse
import sys

from deeprftv2_arch.console import USER_ERROR
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.options.checked import read_checked
from deeprftv2_arch.options.reference import reference
from deeprftv2_arch.options.registries import Registries
from deeprftv2_arch.options.yaml_file import read_option_file


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code: 2 if anything is wrong with a file."""
    parser = argparse.ArgumentParser(
        prog='python -m deeprftv2_arch.options', description='Print the reference of all keys, or check option files.'
    )
    parser.add_argument('files', nargs='*', metavar='FILE', help='option files to check; none for the reference')
    files = parser.parse_args(arguments).files
    if not files:
        print(reference(Registries()), end='')
    wrong = False
    for file in files:
        try:
            read_checked(file, is_train='train' in read_option_file(file).options)
        except UserError as error:
            wrong = True
            print(*(f'Error: {line}' for line in str(error).splitlines()), sep='\n', file=sys.stderr)
        else:
            print(f'{file}: nothing is wrong.')
    return USER_ERROR if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
