"""BasicSR on today's stack: every quirk of the toolbox that this package knows about, and nothing else.

`basicsr` 1.4.2 dates from 2022. Each `mend_*` function looks for one fault, mends it in memory if the installed
toolbox has it, and says whether it did. The installed files are never changed. A mended function keeps the toolbox's
own one as its attribute `original`.
"""

from __future__ import annotations

from deeprftv2_arch.toolbox.access import add_to_log, being_imported, folder, mend, mended, on_each_start
from deeprftv2_arch.toolbox.files import mend_loading, mend_saving
from deeprftv2_arch.toolbox.imports import mend_distutils, mend_functional_tensor
from deeprftv2_arch.toolbox.parts import (
    mend_last_iteration,
    mend_local_rank,
    mend_optimizers,
    mend_prefetch,
)
from deeprftv2_arch.toolbox.processes import mend_ddp_on_cpu, mend_init_dist
from deeprftv2_arch.toolbox.training import mend_batches, mend_resume

BEFORE_IMPORT = (mend_distutils, mend_functional_tensor)
WITH_MODELS = (
    mend_optimizers,
    mend_init_dist,
    mend_ddp_on_cpu,
    mend_saving,
    mend_loading,
    mend_prefetch,
    mend_last_iteration,
    mend_local_rank,
)
AT_START = (mend_resume, mend_batches)

__all__ = [
    'AT_START',
    'BEFORE_IMPORT',
    'WITH_MODELS',
    'add_to_log',
    'being_imported',
    'folder',
    'mend',
    'mended',
    'on_each_start',
]
