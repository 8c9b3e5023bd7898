"""The protocols hang together: metrics that exist, values that the paper can have averaged."""

from __future__ import annotations

import inspect

import pytest
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.config.protocols import ALL, PROTOCOLS, find_protocol
from deeprftv2_arch.evaluation.scores import better
from deeprftv2_arch.utils.errors import UserError

MISSING = {'FDIKP': {'mae'}}
"""What the paper does not give of a network."""


@pytest.mark.parametrize('protocol', PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_metric_exists_and_takes_its_arguments(protocol):
    for metric in protocol.metrics.values():
        function = METRIC_REGISTRY.get(metric['type'])
        arguments = {key: value for key, value in metric.items() if key != 'type'}
        inspect.signature(function).bind(img=None, img2=None, **arguments)
        assert better(metric) == better({'type': metric['type']})
    assert protocol.paper
    for row in protocol.paper:
        assert row.values.keys() == protocol.metrics.keys() - MISSING.get(row.network, set())


def test_counts_are_those_of_the_papers():
    counts = {name: protocol.expected_images for name, protocol in PROTOCOLS.items() if not name.endswith(('3', '4'))}
    assert counts == {
        **{'gopro': 1111, 'hide': 2025, 'realblur_r': 980, 'realblur_j': 980, 'reds': 300, 'dpdd': 76},
        **{'set5_x2': 5, 'set14_x2': 14, 'bsd100_x2': 100, 'urban100_x2': 100, 'manga109_x2': 109},
    }
    assert len(PROTOCOLS) == 6 + 3 * 5


def test_dpdd_groups_average_to_the_row_of_all():
    rows = [row for row in PROTOCOLS['dpdd'].paper if row.network == 'DeepRFTv2-S']
    values = {row.group: {name: float(text) for name, text in row.values.items()} for row in rows}
    for metric, combined in values[ALL].items():
        # 37 indoor and 39 outdoor images, all of it rounded.
        mean = (37 * values['indoor'][metric] + 39 * values['outdoor'][metric]) / 76
        assert mean == pytest.approx(combined, abs=0.011 if 'psnr' in metric else 0.0011)


def test_dpdd_has_the_row_of_fdikp():
    # Table 4 of arXiv 2511.21132; the mean absolute error is not given there.
    (row,) = (row for row in PROTOCOLS['dpdd'].paper if row.network == 'FDIKP')
    assert (row.group, dict(row.values)) == (ALL, {'psnr_float': '26.42', 'ssim_uniform': '0.813', 'lpips': '0.185'})


def test_sr_gains_are_those_of_the_text():
    # Section 4.2, group E: from 33.27 / 29.16 / 26.97 dB to 33.55 / 29.36 / 27.12 dB on Urban100.
    rows = {scale: PROTOCOLS[f'urban100_x{scale}'].paper for scale in (2, 3, 4)}
    values = {scale: {row.network: row.values['psnr_y'] for row in rows[scale]} for scale in rows}
    assert [values[scale]['ATD-light'] for scale in (2, 3, 4)] == ['33.27', '29.16', '26.97']
    assert [values[scale]['ATD-light+FKE'] for scale in (2, 3, 4)] == ['33.55', '29.36', '27.12']
    assert [PROTOCOLS[f'set14_x{scale}'].metrics['ssim_y']['crop_border'] for scale in (2, 3, 4)] == [2, 3, 4]


def test_unknown_protocol_is_refused_with_the_nearest_one():
    assert find_protocol('gopro').title == 'GoPro'
    with pytest.raises(
        UserError, match=r"datasets\.test\.protocol: there is no protocol 'gorpo' \(did you mean 'gopro'"
    ):
        find_protocol('gorpo', 'datasets.test.protocol')
