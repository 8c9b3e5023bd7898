"""`deeprftv2 report`: an HTML page about a training."""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.report.experiment import read_experiment
from deeprftv2_arch.report.page import render
from deeprftv2_arch.utils.atomic_file import write_atomically


def main(arguments: list[str] | None = None) -> None:
    """Write the page of an experiment and say where it is.

    Raises:
        UserError: The folder holds no experiment, or the page cannot be written.
    """
    parser = command_parser('report', 'Write an HTML page about a training.', 'experiments/DeepRFTv2-B_GoPro')
    parser.add_argument('folder', help='folder of a training, such as experiments/NAME')
    parser.add_argument('--out', help='the page to write (default: report.html in that folder)')
    given = parser.parse_args(arguments)
    out = Path(given.out or Path(given.folder, 'report.html'))
    print(write_atomically(out, render(read_experiment(given.folder))))
