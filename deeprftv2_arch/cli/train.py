"""`deeprftv2 train`: train through BasicSR, from any folder. Results go below that folder."""

from __future__ import annotations

import os
import sys

from deeprftv2_arch.launch.start import start


def main(arguments: list[str]) -> int:
    """Run BasicSR's train script on an option file; its arguments are read from `sys.argv`.

    Returns:
        The exit code.
    """
    sys.argv = ['deeprftv2 train', *arguments]
    return start('train', root=os.getcwd())
