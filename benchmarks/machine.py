"""What all benchmarks share: naming the machine, timing, the peak memory of a process, processes of their own.

A benchmark imports this module before the package, which it makes importable from a checkout without installation.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

MB = 2**20
ROOT = Path(__file__).resolve().parents[1]
# For a process whose peak is measured: glibc gives freed memory back at once. By default it keeps freed blocks below
# 32 MB in its heap, whose holes would be measured too.
GIVES_FREED_MEMORY_BACK = {'MALLOC_MMAP_THRESHOLD_': '262144', 'MALLOC_TRIM_THRESHOLD_': '262144'}

sys.path.insert(0, str(ROOT))


def processor() -> str:
    """Name, cores in use and vector instructions of the CPU."""
    try:
        with open('/proc/cpuinfo') as lines:
            name = next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f'{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}'


def describe(device: str = 'cpu') -> str:
    """One line for the top of a table: processor or GPU, threads, version of torch."""
    if device.startswith('cuda'):
        return f'{torch.cuda.get_device_name(device)}; CUDA {torch.version.cuda}; torch {torch.__version__}'
    return f'{processor()}; {torch.get_num_threads()} threads; torch {torch.__version__}'


def seconds(run: Callable[[], object]) -> float:
    """Time of one run on the CPU."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def fastest_in_turns(run: Callable[[str], object], names: Iterable[str], rounds: int) -> dict[str, float]:
    """Seconds of the fastest run by name. The names take turns, so that a busy minute of the machine meets them all."""
    times: dict[str, float] = {name: float('inf') for name in names}
    for _ in range(rounds):
        for name in times:
            times[name] = min(times[name], seconds(lambda name=name: run(name)))
    return times


def matrix_rate() -> float:
    """Operations per second of a large float32 matrix product, the physical limit of every convolution."""
    a, b = torch.randn(2, 2048, 2048)
    return 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(8))


def resident(key: str) -> int:
    """A size of this process in bytes (Linux): ``VmRSS`` now, ``VmHWM`` at its peak."""
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) * 1024


def peak_growth(run: Callable[[], object]) -> int:
    """Bytes by which one run raises the peak of this process (Linux)."""
    Path('/proc/self/clear_refs').write_text('5')  # forgets the peak so far
    before = resident('VmRSS')
    run()
    return resident('VmHWM') - before


def keep_freed_memory() -> None:
    """glibc: no memory maps for large blocks and no giving back, so that new blocks cost no page faults."""
    if sys.platform == 'linux':
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        for parameter, value in ((m_trim_threshold, 2**31 - 1), (m_top_pad, 64 * MB), (m_mmap_max, 0)):
            libc.mallopt(parameter, value)


def in_own_process(script: str, *arguments: object, environment: dict[str, str] | None = None) -> Any:
    """Run a benchmark again as a process of its own and return what it prints last, read as JSON.

    Allocator, peak and compiled code are those of a process. What goes wrong there is shown as it is.
    """
    command = [sys.executable, script, *map(str, arguments)]
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])
