"""`python -m deeprftv2_arch.prepare NAME --source DOWNLOAD --out datasets/NAME`."""

import sys

from deeprftv2_arch.prepare.command import run

if __name__ == '__main__':
    sys.exit(run())
