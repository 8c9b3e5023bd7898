"""Test through BasicSR: `python -m deeprftv2_arch.test -opt FILE`, from any folder. Results go below that folder."""

from __future__ import annotations

import os
import sys

from deeprftv2_arch.launch.start import start

if __name__ == '__main__':
    sys.exit(start('test', root=os.getcwd()))
