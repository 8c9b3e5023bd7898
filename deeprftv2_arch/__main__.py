"""`python -m deeprftv2_arch COMMAND ...`: the same as the console script `deeprftv2`."""

import sys

from deeprftv2_arch.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
