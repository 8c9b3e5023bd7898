"""Networks of windows under DeblurModel restore images of any size as under BasicSR's SwinIRModel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from basicsr.models.swinir_model import SwinIRModel

SWINIR = {
    'type': 'SwinIR',
    'upscale': 1,
    'img_size': 16,
    'window_size': 8,
    'depths': [2],
    'embed_dim': 12,
    'num_heads': [2],
    'mlp_ratio': 2,
    'upsampler': '',
}
ENLARGING = {**SWINIR, 'upscale': 2, 'upsampler': 'pixelshuffledirect'}
WITH_FKE = {'type': 'WithFKE', 'after': 'conv_after_body', 'network': SWINIR}


@pytest.mark.parametrize('network', [SWINIR, ENLARGING], ids=['same size', 'enlarging'])
@pytest.mark.parametrize('size', [(16, 24), (42, 36), (13, 9)])
def test_images_of_any_size_are_restored_as_by_basicsr(
    make_model, network: dict[str, Any], size: tuple[int, int]
) -> None:
    lq = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
    model = make_model(is_train=False, network_g=network, scale=network['upscale'])
    model.feed_data({'lq': lq})
    model.test()
    ours = model.output
    SwinIRModel.test(model)
    torch.testing.assert_close(ours, model.output, rtol=0, atol=0)
    assert ours.shape == (1, 3, *(network['upscale'] * side for side in size))


def test_the_window_is_found_inside_withfke(make_model) -> None:
    lq = torch.rand(1, 3, 42, 36, generator=torch.Generator().manual_seed(2))
    model = make_model(is_train=False, network_g=WITH_FKE)
    model.feed_data({'lq': lq})
    model.test()
    padded = torch.nn.functional.pad(lq, (0, 4, 0, 6), mode='reflect')
    with torch.no_grad():
        expected = model.net_g.eval()(padded)[..., :42, :36]
    torch.testing.assert_close(model.output, expected, rtol=0, atol=0)
