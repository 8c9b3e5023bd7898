"""FDIKP under DeblurModel and under BasicSR's own model."""

from __future__ import annotations

import pytest
import torch

SMALL = {
    'type': 'FDIKP',
    'width': 4,
    'num_blocks': [1, 1, 1],
    'num_kernels': 2,
    'kernel_size': 5,
    'spectrum_tile': 8,
    'spectral_channels': 2,
    'state_channels': 3,
}


@pytest.mark.parametrize('amp', [None, 'bfloat16'])
def test_a_deblur_model_supervises_every_scale(make_model, batch, train_for, amp):
    model = make_model(network_g=SMALL, train={'optim_g': {'type': 'Adam', 'lr': 2e-3}, 'amp': amp})
    before = {key: value.clone() for key, value in model.net_g.state_dict().items()}
    train_for(model, batch, range(1, 4))
    terms = {'l_pix', 'l_pix_half', 'l_pix_quarter', 'l_fft', 'l_fft_half', 'l_fft_quarter'}
    assert terms <= set(model.get_current_log())
    after = model.net_g.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    # In the first step gates are behind layers that start at zero; after three every part has moved.
    parts = {key.split('.')[0] for key in before if not torch.equal(before[key], after[key])}
    assert parts == {'features', 'kernels', 'deconvolve_blurred', 'deconvolve_previous', 'fuse'}


def test_basicsrs_model_trains_it_on_the_restored_image(make_model, batch, train_for):
    model = make_model(
        model_type='SRModel',
        network_g=SMALL,
        train={
            'optim_g': {'type': 'Adam', 'lr': 2e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]},
            'fft_opt': None,
        },
    )
    train_for(model, batch, range(1, 4))
    assert 0 < model.get_current_log()['l_pix'] < 1
    model.test()
    assert not torch.equal(model.output, batch['lq'])
