"""DeepRFTv2 for BasicSR: importing this package registers its networks, losses, data sets, metrics and models."""

from deeprftv2_arch.toolbox import register_all

__version__ = '0.1.0'

register_all()
