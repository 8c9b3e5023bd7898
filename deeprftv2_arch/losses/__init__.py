"""Losses, registered with BasicSR's ``LOSS_REGISTRY``."""

from deeprftv2_arch.losses.frequency_loss import FrequencyLoss, frequency_distance
from deeprftv2_arch.losses.lpips_loss import LPIPSLoss

__all__ = ['FrequencyLoss', 'LPIPSLoss', 'frequency_distance']
