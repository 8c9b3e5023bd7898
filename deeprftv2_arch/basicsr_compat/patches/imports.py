"""Patches without which `import basicsr` fails."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

from deeprftv2_arch.basicsr_compat.patches.patching import folder


def patch_distutils() -> bool:
    """Give `basicsr.archs.arch_util` the class that it imports from `distutils`, which Python 3.12 removed.

    setuptools brings a `distutils` of its own, but nothing makes sure that setuptools is there.
    """
    if 'distutils' in sys.modules or importlib.util.find_spec('distutils') is not None:
        return False
    from torch.torch_version import TorchVersion

    why = 'Stands in for the package that Python 3.12 removed.'
    distutils: Any = types.ModuleType('distutils', why)
    version: Any = types.ModuleType('distutils.version', why)
    distutils.version = version
    version.LooseVersion = TorchVersion
    sys.modules.update({'distutils': distutils, 'distutils.version': version})
    return True


def patch_functional_tensor() -> bool:
    """Give `basicsr.data.degradations` the torchvision module that it imports one function from.

    torchvision 0.17 removed `transforms.functional_tensor`; `rgb_to_grayscale` lives on in `transforms.functional`.
    BasicSR #533, #663 (patched on its master by #650, never released), Real-ESRGAN #879.
    """
    name = 'torchvision.transforms.functional_tensor'
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return False
    installed = folder()
    if installed is None:
        return False
    if 'functional_tensor' not in (installed / 'data' / 'degradations.py').read_text(encoding='utf-8'):
        return False
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in: Any = types.ModuleType(name, 'Stands in for the module that torchvision 0.17 removed.')
    stand_in.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = stand_in
    return True
