"""Packaging of the plugin. Ranges are what it should run with; `constraints.txt` has the versions it is tested with."""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (ROOT / 'deeprftv2_arch' / '_version.py').read_text(encoding='utf-8'))[1]

# pip of 2024 looks at `python_requires` only after it has tried to build what we require, and failed.
if sys.version_info >= (3, 13):
    sys.exit('deeprftv2_arch needs Python 3.10, 3.11 or 3.12: BasicSR 1.4.2 cannot be built on 3.13 (docs/install.md).')

PLOTS = ['matplotlib>=3.8']
LPIPS = ['lpips>=0.1.4']
SPANDREL = ['spandrel>=0.4']
HEIC = ['pillow-heif>=0.20']

setup(
    name='deeprftv2_arch',
    version=VERSION,
    description='DeepRFTv2 image deblurring as a plugin for BasicSR',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['deeprftv2_arch', 'deeprftv2_arch.*']),
    package_data={'deeprftv2_arch.report': ['page.html'], 'deeprftv2_arch': ['weights/*.safetensors']},
    entry_points={'console_scripts': ['deeprftv2 = deeprftv2_arch.cli.main:main']},
    python_requires='>=3.10,<3.13',
    install_requires=[
        'basicsr>=1.4.2,<1.5',
        'torch>=2.6',
        'torchvision>=0.21',
        'numpy>=1.26',
        'scipy>=1.11,<2',  # BasicSR 1.4.2 imports a namespace of SciPy that version 2 is to remove
        'opencv-python>=4.10',
        'scikit-image>=0.22',
        'lmdb>=1.4',
        'pyyaml>=6',
        'numba>=0.60',
        'tqdm>=4.66',
        'jinja2>=3.1',
        'safetensors>=0.4.3',
        'pillow>=11.1',
        'tifffile>=2024.1.30',
    ],
    extras_require={
        'plots': PLOTS,
        'demo': PLOTS,
        'lpips': LPIPS,
        'spandrel': SPANDREL,
        'heic': HEIC,
        'dev': [*PLOTS, *LPIPS, *SPANDREL, *HEIC, 'pytest>=8', 'pytest-xdist>=3.5', 'ruff>=0.6'],
    },
)
