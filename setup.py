"""The metadata is in `pyproject.toml`; this file refuses a Python that BasicSR cannot be built on."""

import sys

from setuptools import setup

# pip of 2024 looks at `requires-python` only after it has tried to build what we require, and failed.
if sys.version_info >= (3, 13):
    sys.exit('deeprftv2_arch needs Python 3.10, 3.11 or 3.12: BasicSR 1.4.2 cannot be built on 3.13 (docs/install.md).')

setup()
