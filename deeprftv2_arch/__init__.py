"""DeepRFTv2 for BasicSR: importing this package registers its networks, data sets, losses, metrics and models.

In our own launchers it is they who register, once they have looked at the option file: see `start`.
"""

__version__ = '0.1.0'

from deeprftv2_arch.start import registers_late
from deeprftv2_arch.uncovering import uncover_toolbox

uncover_toolbox()
if not registers_late():
    from deeprftv2_arch.registration import register_all

    register_all()
