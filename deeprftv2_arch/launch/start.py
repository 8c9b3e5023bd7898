"""How a launcher starts: it looks at the option file first, and imports later what takes seconds to import."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from deeprftv2_arch.distributed.env import local_rank
from deeprftv2_arch.utils.console import exit_code

MODULES = re.compile(r'(-\w*m)?deeprftv2_arch(\.(train|test|__main__))?')
"""Our commands, as they stand behind `python -m` or, without a blank, in one with it."""

SCRIPTS = [Path(__file__).parents[2] / 'basicsr' / name for name in ('train.py', 'test.py')]


def registers_late() -> bool:
    """Whether this program is a launcher of ours, which looks at the option file before it has our names registered.

    While `python -m NAME` imports the package that the module is in, `sys.argv[0]` is `-m`, and the name stands in the
    place of a script among the arguments that Python itself was given.
    """
    program = sys.orig_argv[-len(sys.argv)] if 0 < len(sys.argv) <= len(sys.orig_argv) else ''
    if sys.argv[:1] == ['-m']:
        return MODULES.fullmatch(program) is not None
    if Path(program).stem == 'deeprftv2':  # the console script
        return True
    script = Path(program).resolve()
    # Beside a copy of this package in a checkout of BasicSR, the scripts of these names are BasicSR's own.
    return program.endswith('.py') and script in SCRIPTS and not script.with_name('__init__.py').exists()


def start(kind: str, root: str | Path) -> int:
    """Look at the option file, then run the training or the test of BasicSR.

    Of several processes on one machine the first one looks: were another faster, torchrun would stop the first one
    before it has said what is wrong.

    Args:
        kind: 'train' or 'test'.
        root: Folder below which `experiments`, `results` and `tb_logger` go.

    Returns:
        The exit code, see `launcher.launch`.
    """
    code = exit_code(lambda: _look(kind)) if local_rank() == 0 else 0
    if code:
        return code
    from deeprftv2_arch.launch.run import launch

    return launch(kind, root)


def _look(kind: str) -> None:
    if 'basicsr' in sys.modules:
        return  # with what others may have registered: all is there to be asked
    from deeprftv2_arch.config.command_line import CommandLine

    with CommandLine(sys.argv[1:]) as command_line:
        command_line.refuse_early(is_train=kind == 'train')
