"""Losses, registered with BasicSR's ``LOSS_REGISTRY``."""

from deeprftv2_arch.losses.frequency_loss import FrequencyLoss, frequency_distance

__all__ = ['FrequencyLoss', 'frequency_distance']
