"""`deeprftv2 analyze`: the paper's figures, each a command of its own."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest


class Figure(NamedTuple):
    """A sub-command: a module with a function `main(arguments)`, and what it draws."""

    module: str
    help: str


FIGURES = {
    'blur-pattern': Figure('deeprftv2_arch.cli.analyze_blur_pattern', 'the blur pattern of images (figure 2)'),
    'kernels': Figure('deeprftv2_arch.cli.analyze_kernels', 'features and kernels of estimators (figures 6 and 7)'),
    'inverse-kernels': Figure(
        'deeprftv2_arch.cli.analyze_inverse_kernels', "the two claims of FDIKP's abstract, measured"
    ),
    'cka': Figure('deeprftv2_arch.cli.analyze_cka', 'similarity of features and blur kernels (figure 8)'),
}


def main(arguments: list[str]) -> int:
    """Run the sub-command that the first argument names.

    Returns:
        The exit code.

    Raises:
        UserError: There is no such sub-command.
    """
    name, rest = (arguments[:1] or ['--help'])[0], arguments[1:]
    if name in ('-h', '--help'):
        print(_help())
        return 0
    if name not in FIGURES:
        raise UserError(f'There is nothing to analyze called {name!r}{nearest(name, FIGURES)}. Try analyze --help.')
    return importlib.import_module(FIGURES[name].module).main(rest) or 0


def _help() -> str:
    width = max(map(len, FIGURES))
    lines = '\n'.join(f'  {name:{width}}  {figure.help}' for name, figure in FIGURES.items())
    return f'usage: deeprftv2 analyze FIGURE ...\n\n{lines}\n\ndeeprftv2 analyze FIGURE --help shows its arguments.'
