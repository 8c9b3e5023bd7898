"""Models, registered with BasicSR's ``MODEL_REGISTRY``."""

from deeprftv2_arch.models.deblur_model import DeblurModel

__all__ = ['DeblurModel']
