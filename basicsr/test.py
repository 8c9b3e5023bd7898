"""Test: `python basicsr/test.py -opt options/test_gopro.yml`, with this repository installed or not.

This folder must not have an `__init__.py`: it would hide the installed BasicSR, whose `basicsr/test.py` this one runs.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Python looks into this folder first, where modules of BasicSR would be found by the wrong name.
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != ROOT / 'basicsr')]

from deeprftv2_arch.launch.start import start  # noqa: E402

if __name__ == '__main__':
    sys.exit(start('test', root=ROOT))
