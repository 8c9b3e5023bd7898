"""FDIKP learns from coarse to fine: every scale adds something, and so does what passes between them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.analysis.inverse_kernels import Setting, training_batches, two_halves
from deeprftv2_arch.analysis.synthetic_defocus import sharp_textures
from deeprftv2_arch.archs import FDIKP
from deeprftv2_arch.models.supervision import supervise

SETTING = Setting(strongest=2.0, steps=150)

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def trained() -> FDIKP:
    """A small network after 150 steps: 64 s of one core."""
    torch.manual_seed(0)
    net = FDIKP(
        width=8,
        num_blocks=[1, 1, 1],
        num_kernels=2,
        kernel_size=9,
        spectrum_tile=16,
        spectral_channels=4,
        state_channels=8,
    )
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=SETTING.steps, pct_start=0.1)
    for batch in islice(training_batches(SETTING, seed=0), SETTING.steps):
        losses = supervise({'l_pix': nn.L1Loss()}, net(batch.blurred, return_all=True), batch.sharp)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        schedule.step()
    return net.eval()


def psnr(image: Tensor, sharp: Tensor) -> float:
    return -10 * (image - sharp).square().mean().log10().item()


@pytest.fixture(scope='module')
def sample():
    return two_halves(sharp_textures(4, 96, torch.Generator().manual_seed(77)), 0.8, 1.8, SETTING, seed=5)


def test_each_finer_scale_is_better(trained: FDIKP, sample) -> None:
    with torch.no_grad():
        scales = trained(sample.blurred, return_all=True)
    figures = [psnr(F.interpolate(outputs[-1], size=(96, 96), mode='bilinear'), sample.sharp) for outputs in scales]
    # Measured: 21.99, 19.47 and 17.01 dB; the blurred image has 21.04.
    assert figures[0] > figures[1] > figures[2]
    assert figures[0] > psnr(sample.blurred, sample.sharp) + 0.5


def no_state(module: nn.Module, inputs: tuple) -> tuple:
    return (*inputs[:4], None)


def no_coarser_image(module: nn.Module, inputs: tuple) -> tuple:
    feature, image, stack, previous_stack, state = inputs
    return feature, image, stack, torch.zeros_like(previous_stack), state


@pytest.mark.parametrize('without', [no_state, no_coarser_image])
def test_what_passes_between_scales_is_used(trained: FDIKP, sample, without: Callable) -> None:
    with torch.no_grad():
        whole = psnr(trained(sample.blurred), sample.sharp)
        handle = trained.fuse.register_forward_pre_hook(without)
        reduced = psnr(trained(sample.blurred), sample.sharp)
        handle.remove()
    # Measured: 21.99 dB whole, 21.16 without the state, 21.23 without the coarser image.
    assert reduced < whole
