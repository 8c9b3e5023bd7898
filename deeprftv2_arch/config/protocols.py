"""The published protocols: for each test set what is measured and how, on how many images, and the paper's rows.

A data set of an option file follows one by naming it: ``protocol: gopro``. A metric value can be compared with a
published one only where both were measured in the same way, and tables do not say which way that was.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from deeprftv2_arch.config.known_sets import KNOWN_SETS, SR_BENCHMARK
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest

ALL = 'all'
"""Name of the group of all images of a data set."""


class PaperRow(NamedTuple):
    """One row of a table of the paper.

    Attributes:
        network: As the paper calls it.
        values: By the name of the metric in the protocol; as printed there, so that 29.50 stays 29.50. Without
            those that are not given there.
        group: The images it is the mean of: all, or a part such as ``indoor``.
    """

    network: str
    values: Mapping[str, str]
    group: str = ALL


class Protocol(NamedTuple):
    """How restored images of one test set are measured.

    Attributes:
        name: What an option file calls it.
        title: Name of the test set.
        expected_images: How many images the values of the paper are the mean of.
        how: What is measured how, in words.
        metrics: What ``val.metrics`` must hold, by our name of the metric: ``type`` and arguments.
        paper: The rows of the paper.
    """

    name: str
    title: str
    expected_images: int
    how: str
    metrics: Mapping[str, Mapping[str, Any]]
    paper: tuple[PaperRow, ...]


_PSNR: dict[str, Any] = {'type': 'calculate_psnr', 'crop_border': 0}
_SSIM_3D: dict[str, Any] = {'type': 'calculate_ssim_3d'}
_WHOLE: dict[str, dict[str, Any]] = {'psnr': _PSNR, 'ssim_3d': _SSIM_3D}
_WHOLE_HOW = (
    'PSNR and 3-D SSIM (MATLAB, 11 x 11 x 11 Gaussian) on RGB rounded to 8 bits, whole images, nothing cropped; mean '
    'over images'
)
_REALBLUR: dict[str, dict[str, Any]] = {
    'psnr_aligned': {'type': 'calculate_psnr_aligned'},
    'ssim_aligned': {'type': 'calculate_ssim_aligned'},
    **_WHOLE,
}
_REALBLUR_HOW = (
    'aligned: RGB rounded to 8 bits, brightness matched by one factor, ECC homography, PSNR and Gaussian SSIM per '
    'channel inside the warped mask, for SSIM without 5 pixels at every edge; unaligned, the grey rows of the paper: '
    'PSNR and 3-D SSIM as for GoPro; mean over images'
)
_DPDD: dict[str, dict[str, Any]] = {
    'psnr_float': {'type': 'calculate_psnr_float'},
    'ssim_uniform': {'type': 'calculate_ssim_uniform'},
    'mae': {'type': 'calculate_mae', 'better': 'lower'},
    'lpips': {'type': 'calculate_lpips', 'better': 'lower'},
}
_DPDD_HOW = (
    'RGB in [0, 1] as the network gives it, clipped but not rounded: PSNR, SSIM per channel in uniform 7 x 7 windows, '
    'mean absolute error, LPIPS v0.1 with AlexNet; mean over images; the indoor and outdoor rows need groups'
)


def _make(name: str, part: str, how: str, metrics: Mapping[str, Mapping[str, Any]], *rows: PaperRow) -> Protocol:
    known = KNOWN_SETS[name]
    return Protocol(name, known.title, known.images[part], how, metrics, rows)


def _row(metrics: Mapping[str, Any], values: str, network: str = 'DeepRFTv2-B', group: str = ALL) -> PaperRow:
    printed = dict(zip(metrics, values.split(), strict=True))
    return PaperRow(network, {metric: value for metric, value in printed.items() if value != '-'}, group)


_SR_VALUES = {
    # Table 5: PSNR and SSIM on Set5, Set14, BSD100, Urban100 and Manga109.
    ('ATD-light+FKE', 2): '38.27 0.9618 34.26 0.9229 32.41 0.9030 33.55 0.9405 39.63 0.9793',
    ('ATD-light+FKE', 3): '34.71 0.9298 30.73 0.8497 29.35 0.8120 29.36 0.8753 34.69 0.9513',
    ('ATD-light+FKE', 4): '32.62 0.8991 28.93 0.7902 27.80 0.7451 27.12 0.8163 31.54 0.9210',
    ('ATD-light', 2): '38.28 0.9616 34.11 0.9217 32.39 0.9023 33.27 0.9376 39.51 0.9789',
    ('ATD-light', 3): '34.70 0.9300 30.68 0.8485 29.32 0.8109 29.16 0.8710 34.60 0.9505',
    ('ATD-light', 4): '32.62 0.8997 28.87 0.7884 27.77 0.7439 26.97 0.8107 31.47 0.9198',
}


def _super_resolution(name: str, scale: int) -> Protocol:
    known = KNOWN_SETS[name]
    arguments = {'crop_border': scale, 'test_y_channel': True}
    metrics = {
        'psnr_y': {'type': 'calculate_psnr', **arguments},
        'ssim_y': {'type': 'calculate_ssim', **arguments},
    }
    how = (
        f'PSNR and SSIM (2-D, 11 x 11 Gaussian) on the luma of MATLAB of RGB rounded to 8 bits, {scale} pixels left '
        'out at every edge; mean over images'
    )
    column = 2 * SR_BENCHMARK.index(name)
    rows = [
        _row(metrics, ' '.join(values.split()[column : column + 2]), network)
        for (network, row_scale), values in _SR_VALUES.items()
        if row_scale == scale
    ]
    return Protocol(f'{name}_x{scale}', f'{known.title} x{scale}', known.images['test'], how, metrics, tuple(rows))


_ALL_PROTOCOLS = (
    _make('gopro', 'test', _WHOLE_HOW, _WHOLE, _row(_WHOLE, '34.52 0.971')),
    _make('hide', 'test', _WHOLE_HOW, _WHOLE, _row(_WHOLE, '32.22 0.953')),
    _make('realblur_r', 'test', _REALBLUR_HOW, _REALBLUR, _row(_REALBLUR, '41.39 0.977 38.26 0.971')),
    _make('realblur_j', 'test', _REALBLUR_HOW, _REALBLUR, _row(_REALBLUR, '34.46 0.945 31.10 0.933')),
    _make('reds', 'val', _WHOLE_HOW, _WHOLE, _row(_WHOLE, '29.42 0.872')),
    _make(
        'dpdd',
        'test',
        _DPDD_HOW,
        _DPDD,
        _row(_DPDD, '29.50 0.890 0.023 0.134', 'DeepRFTv2-S', 'indoor'),
        _row(_DPDD, '23.73 0.766 0.048 0.192', 'DeepRFTv2-S', 'outdoor'),
        _row(_DPDD, '26.54 0.827 0.036 0.164', 'DeepRFTv2-S'),
        _row(_DPDD, '26.42 0.813 - 0.185', 'FDIKP'),
    ),
    *(_super_resolution(name, scale) for scale in (2, 3, 4) for name in SR_BENCHMARK),
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in _ALL_PROTOCOLS})
"""By name. Tables 1 to 5 of the paper, arXiv 2511.21132."""


def find_protocol(name: str, where: str = 'protocol') -> Protocol:
    """Return the protocol of a name.

    Args:
        name: Such as ``gopro`` or ``set5_x2``.
        where: Place in the option file, for the message.

    Raises:
        UserError: There is none of that name.
    """
    if name not in PROTOCOLS:
        known = ', '.join(PROTOCOLS)
        raise UserError(f'{where}: there is no protocol {name!r}{nearest(name, PROTOCOLS)}. Known: {known}.')
    return PROTOCOLS[name]
