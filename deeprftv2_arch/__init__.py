"""DeepRFTv2 for BasicSR: importing this package registers its networks, data sets, losses, metrics and models.

In our own launchers it is they who register, once they have looked at the option file: see `start`.
"""

from deeprftv2_arch._version import __version__
from deeprftv2_arch.basicsr_compat.unshadow import unshadow_basicsr
from deeprftv2_arch.launch.start import registers_late

__all__ = ['__version__']

unshadow_basicsr()
if not registers_late():
    from deeprftv2_arch.basicsr_compat.registration import register_all

    register_all()
