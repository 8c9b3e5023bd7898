"""Monkey-patches that make BasicSR 1.4.2, of 2022, run on current torch, torchvision and Python.

Each `patch_*` function recognises one fault by the source of the installed BasicSR, patches it in memory, and returns
whether it did. The installed files are never changed. A patched function keeps BasicSR's own one as its attribute
`original`.
"""

from __future__ import annotations

from deeprftv2_arch.basicsr_compat.patches.checkpoint_io import patch_loading, patch_saving
from deeprftv2_arch.basicsr_compat.patches.components import (
    patch_last_iteration,
    patch_local_rank,
    patch_optimizers,
    patch_prefetch,
    patch_stray_files,
    patch_wrapped_network,
)
from deeprftv2_arch.basicsr_compat.patches.distributed import patch_ddp_on_cpu, patch_init_dist
from deeprftv2_arch.basicsr_compat.patches.imports import patch_distutils, patch_functional_tensor
from deeprftv2_arch.basicsr_compat.patches.patching import (
    add_to_log,
    applied,
    apply,
    being_imported,
    folder,
    on_each_start,
)
from deeprftv2_arch.basicsr_compat.patches.train_script import patch_batches, patch_resume

BEFORE_IMPORT = (patch_distutils, patch_functional_tensor)
WITH_MODELS = (
    patch_optimizers,
    patch_init_dist,
    patch_ddp_on_cpu,
    patch_saving,
    patch_loading,
    patch_prefetch,
    patch_stray_files,
    patch_last_iteration,
    patch_local_rank,
    patch_wrapped_network,
)
AT_START = (patch_resume, patch_batches)

__all__ = [
    'AT_START',
    'BEFORE_IMPORT',
    'WITH_MODELS',
    'add_to_log',
    'applied',
    'apply',
    'being_imported',
    'folder',
    'on_each_start',
]
