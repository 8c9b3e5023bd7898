"""Networks that an option file can name under `network_g.type`."""

from deeprftv2_arch.archs.atd_arch import ATD, ATDFKE
from deeprftv2_arch.archs.bicubic_arch import Bicubic
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.archs.fdikp_arch import FDIKP
from deeprftv2_arch.archs.identity_arch import Identity
from deeprftv2_arch.archs.pretrained_arch import Pretrained
from deeprftv2_arch.archs.with_fke_arch import WithFKE

__all__ = ['ATD', 'ATDFKE', 'FDIKP', 'Bicubic', 'DeepRFTv2', 'Identity', 'Pretrained', 'WithFKE']
