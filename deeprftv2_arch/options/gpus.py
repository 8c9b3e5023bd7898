"""The number of GPUs that torch will find, asked of the driver before torch is imported."""

from __future__ import annotations

import ctypes
import os
import re
import sys

from deeprftv2_arch.options.source_tree import package_folder

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
    try:
        driver = ctypes.CDLL('libnvidia-ml.so.1')
    except OSError:
        return None if os.path.exists('/dev/dxg') else 0  # Windows below: its driver is in another place
    number = ctypes.c_uint()
    if driver.nvmlInit_v2() or driver.nvmlDeviceGetCount_v2(ctypes.byref(number)):
        return None
    return _visible(os.environ.get('CUDA_VISIBLE_DEVICES'), number.value)


def _visible(listed: str | None, number: int) -> int | None:
    """How many of the GPUs a list leaves; None if it names them in another way than by their numbers."""
    if listed is None:
        return number
    entries = [entry.strip() for entry in listed.split(',')]
    if not all(entry.isdecimal() for entry in entries):
        return None if listed.strip() else 0
    # CUDA stops at the first one that is not there, and takes a list with repetitions for empty.
    valid = [int(entry) for entry in entries]
    valid = valid[: next((place for place, gpu in enumerate(valid) if gpu >= number), None)]
    return len(valid) if len(set(valid)) == len(valid) else 0
