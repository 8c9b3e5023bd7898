"""The number of GPUs that torch will find, asked of the driver before torch is imported."""

from __future__ import annotations

import ctypes
import os
import re
import sys

from deeprftv2_arch.config.source_tree import package_folder

BUILT_FOR = re.compile(r"^(cuda|hip)\b.*= *(None|'.*')$", flags=re.MULTILINE)
"""Assignments in `torch/version.py`."""


def count_gpus() -> int | None:
    """What `torch.cuda.device_count` would return; None if only torch can tell."""
    torch = package_folder('torch')
    if torch is None or sys.platform != 'linux':
        return None
    built_for = dict(BUILT_FOR.findall((torch / 'version.py').read_text(encoding='utf-8')))
    if built_for.get('cuda') == 'None' == built_for.get('hip'):
        return 0
    if built_for.get('cuda', 'None') == 'None':
        return None
    driver = _library('libnvidia-ml.so.1')
    if driver is None:
        return 0 if _library('libcuda.so.1') is None else None
    number = ctypes.c_uint()
    if driver.nvmlInit_v2() or driver.nvmlDeviceGetCount_v2(ctypes.byref(number)):
        return None
    return _visible(os.environ.get('CUDA_VISIBLE_DEVICES'), number.value)


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _visible(listed: str | None, number: int) -> int | None:
    """How many of the GPUs a list leaves; None if it names them in another way than by their numbers."""
    if listed is None:
        return number
    entries = [entry.strip() for entry in listed.split(',')]
    if not all(re.fullmatch('[0-9]+', entry) for entry in entries):
        return None if listed.strip() else 0
    # As torch has it: a repetition makes the list void, and it ends at the first GPU that is not there.
    wanted = [int(entry) for entry in entries]
    if len(set(wanted)) < len(wanted):
        return 0
    return next((place for place, gpu in enumerate(wanted) if gpu >= number), len(wanted))
