"""Command line: `python -m deeprftv2_arch.report experiments/NAME [--out FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deeprftv2_arch.atomic_file import write_atomically
from deeprftv2_arch.console import exit_code
from deeprftv2_arch.report.experiment import read_experiment
from deeprftv2_arch.report.page import render


def main(arguments: list[str] | None = None) -> None:
    """Write the page of an experiment and say where it is.

    Raises:
        UserError: The folder holds no experiment, or the page cannot be written.
    """
    parser = argparse.ArgumentParser(prog='python -m deeprftv2_arch.report', description=__doc__)
    parser.add_argument('folder', help='folder of a training, such as experiments/NAME')
    parser.add_argument('--out', help='the page to write (default: report.html in that folder)')
    given = parser.parse_args(arguments)
    out = Path(given.out or Path(given.folder, 'report.html'))
    print(write_atomically(out, render(read_experiment(given.folder))))


if __name__ == '__main__':
    sys.exit(exit_code(main))
