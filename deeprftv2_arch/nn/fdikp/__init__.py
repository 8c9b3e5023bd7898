"""The three parts of FDIKP (arXiv 2508.12736) as we read its abstract, each usable in another network.

* :class:`~deeprftv2_arch.nn.fdikp.inverse_kernels.DualBranchInverseKernels`: predicts a few inverse kernels.
* :class:`~deeprftv2_arch.nn.fdikp.position_adaptive.PositionAdaptiveConvolution`: mixes them anew at every pixel.
* :class:`~deeprftv2_arch.nn.fdikp.recurrence.DualDomainScaleRecurrence`: fuses what they give, from coarse to fine.

The layers, sizes and formulas of the paper were not at hand: what is assumed stands in `assumptions.py`.
"""

from deeprftv2_arch.nn.fdikp.inverse_kernels import DualBranchInverseKernels
from deeprftv2_arch.nn.fdikp.position_adaptive import PositionAdaptiveConvolution
from deeprftv2_arch.nn.fdikp.recurrence import DualDomainScaleRecurrence

__all__ = ['DualBranchInverseKernels', 'DualDomainScaleRecurrence', 'PositionAdaptiveConvolution']
