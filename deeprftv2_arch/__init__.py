"""DeepRFTv2 for BasicSR: importing this package registers its networks, data sets, losses, metrics and models."""

__version__ = '0.1.0'

from deeprftv2_arch.registration import register_all

register_all()
