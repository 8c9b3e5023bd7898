"""The selective scan of S6 (Mamba), the recurrence inside every state-space block: one function, several backends.

`reference` is the oracle, `wide` runs anywhere torch runs, `numba` is the CPU kernel, `mamba_ssm` and `triton` are for
CUDA. `selective_scan` picks the fastest one that can run; `available_backends` says which ones can.
"""

from __future__ import annotations

from deeprftv2_arch.nn.selective_scan.dispatch import BackendError, available_backends, selective_scan

__all__ = ['BackendError', 'available_backends', 'selective_scan']
