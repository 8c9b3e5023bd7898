"""Networks that an option file can name under `network_g.type`."""

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2

__all__ = ['DeepRFTv2']
