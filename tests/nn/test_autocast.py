"""Mixed precision: what stays in float32, gradients of the reversible columns, and training beside float32."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deeprftv2_arch.archs.atd_arch import ATD, ATDFKE
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.losses.frequency_loss import FrequencyLoss
from deeprftv2_arch.nn import fke, vsblock
from deeprftv2_arch.nn.column_state import Scaling
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock
from deeprftv2_arch.nn.norm import LayerNorm, LayerNorm2d
from deeprftv2_arch.nn.pyramid import image_pyramid

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA'))]


def network(**options: object) -> DeepRFTv2:
    """A small network whose every branch is switched on."""
    torch.manual_seed(0)
    net = DeepRFTv2(**{'width': 16, 'num_blocks': [1, 1, 1], **options})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma', 'global_gain')):
                parameter.normal_(0.3, 0.1)
    return net


class Types(TorchDispatchMode):
    """Notes the types of the first input of every operation of torch, as it is really computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        first = args[0][0] if args and isinstance(args[0], (list, tuple)) else args[0] if args else None
        if isinstance(first, Tensor):
            self.seen[func.overloadpacket.__name__].add(first.dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('reversible', [True, False])
def test_norms_spectra_and_scan_compute_in_float32_the_rest_in_bfloat16(
    device: str, reversible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = network(reversible=reversible).to(device), torch.rand(1, 3, 16, 16, device=device)
    scanned: set[torch.dtype] = set()

    def wide(*inputs: Tensor, **_: object) -> Tensor:
        return scan(*inputs, backend='wide')

    def exp(self: Tensor, *args: object) -> Tensor:
        scanned.add(self.dtype)
        return in_place(self, *args)

    scan, in_place = vsblock.selective_scan, Tensor.exp_
    monkeypatch.setattr(vsblock, 'selective_scan', wide)
    monkeypatch.setattr(Tensor, 'exp_', exp)
    outputs: dict[type, set[torch.dtype]] = defaultdict(set)
    for module in net.modules():
        if isinstance(module, (LayerNorm, LayerNorm2d, nn.Conv2d, nn.Linear, NAFBlock)):
            module.register_forward_hook(lambda module, _, output: outputs[type(module)].add(output.dtype))
    with Types() as types:
        with torch.autocast(device, torch.bfloat16):
            restored = net(x, return_all=True)
        sum(output.sum() for images in restored for output in images).backward()
    # The images that outputs are added to are not rounded.
    assert {output.dtype for images in restored for output in images} == {torch.float32}
    assert outputs.pop(LayerNorm) == outputs.pop(LayerNorm2d) == {torch.float32}
    # What blocks add to a map is a product in bfloat16, their sums are not rounded.
    assert outputs.pop(NAFBlock) == outputs.pop(NAFEVSBlock) == {torch.float32}
    assert types.seen['addmm'] == {torch.bfloat16}
    assert set.union(*outputs.values()) == {torch.bfloat16}
    assert types.seen['native_layer_norm'] == {torch.float32}
    assert types.seen['_fft_r2c'] == {torch.float32}
    assert types.seen['_fft_c2r'] == {torch.complex64}
    assert scanned == {torch.float32}
    assert {parameter.grad.dtype for parameter in net.parameters()} == {torch.float32}


def gradients(net: DeepRFTv2, reversible: bool, amp: bool, backward_inside: bool = False) -> Tensor:
    """All gradients of a loss over all outputs, joined."""
    net.reversible = reversible
    net.zero_grad()
    torch.manual_seed(3)
    blurred, sharp = torch.rand(2, 1, 3, 48, 48)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        scales = zip(net(blurred, return_all=True), image_pyramid(sharp, 2), strict=True)
        loss = sum((output - truth).square().mean() for outputs, truth in scales for output in outputs)
        if backward_inside:
            loss.backward()
    if not backward_inside:
        loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


@pytest.mark.parametrize('size', [0.5, 0.1, 0.02])
def test_undoing_adds_less_to_the_error_than_bfloat16_itself(size: float) -> None:
    net = network()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Scaling):
                module.weight.fill_(size)
    exact, plain, ours = (gradients(net, *mode) for mode in ((False, False), (False, True), (True, True)))
    rounding, undoing = (plain - exact).norm() / exact.norm(), (ours - plain).norm() / exact.norm()
    print(f'bfloat16 {rounding:.1e}, undoing {undoing:.1e}')
    assert 0 < undoing < 0.5 * rounding < 0.1


def test_backward_inside_autocast_loses_no_gradient() -> None:
    """Weights that autocast has cast without autograd, in the forward pass, must not serve in the backward pass."""
    net = network()
    inside, outside = gradients(net, True, True, backward_inside=True), gradients(net, True, True)
    torch.testing.assert_close(inside, outside, rtol=0, atol=0.01 * float(outside.abs().max()))
    assert all(parameter.grad.any() for name, parameter in net.named_parameters() if 'scalings' not in name)


def test_fifty_iterations_end_within_one_percent_of_float32() -> None:
    torch.manual_seed(1)
    sharp = nn.functional.interpolate(torch.rand(2, 3, 6, 6), size=(24, 24), mode='bicubic').clamp(0, 1)
    blurred = nn.functional.avg_pool2d(sharp, (1, 7), stride=1, padding=(0, 3), count_include_pad=False)
    frequency = FrequencyLoss(loss_weight=0.01)

    def train(amp: bool) -> list[float]:
        net = network(width=8, num_blocks=[1, 0], block_types=[['nafevs', 'naf']], zero_init_tails=True)
        optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4, betas=(0.9, 0.9))
        losses = []
        for _ in range(50):
            optimizer.zero_grad()
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                restored = net(blurred, return_all=True)
            scales = zip(restored, image_pyramid(sharp, 1), strict=True)
            pairs = [(output, truth) for outputs, truth in scales for output in outputs]
            loss = sum(nn.functional.l1_loss(*pair) + frequency(*pair) for pair in pairs) / len(pairs)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.01)
            optimizer.step()
            losses.append(loss.item())
        return losses

    full, mixed = train(False), train(True)
    print(
        f'float32 {full[0]:.5f} to {full[-1]:.5f}, bfloat16 to {mixed[-1]:.5f}, mean {sum(mixed) / sum(full) - 1:+.2%}'
    )
    assert full[-1] < 0.9 * full[0]
    assert sum(mixed) == pytest.approx(sum(full), rel=0.01)


@pytest.mark.parametrize('network_type', [ATD, ATDFKE])
@torch.no_grad()
def test_networks_for_super_resolution(network_type: type[ATD]) -> None:
    torch.manual_seed(0)
    net = network_type(upscale=2, width=8, depths=[2, 2], heads=2, window=4, group=16, tokens=5, code_channels=3).eval()
    norms: set[torch.dtype] = set()
    for module in net.modules():
        if isinstance(module, (nn.LayerNorm, LayerNorm2d)):
            module.register_forward_hook(lambda _, inputs, output: norms.add(output.dtype))
    x = torch.rand(1, 3, 24, 24)
    exact = net(x)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = net(x)
    assert norms == {torch.float32}
    assert 0 < (mixed - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize(
    ('weights', 'dtype'), [(torch.float32, torch.float16), (torch.float16, None), (torch.bfloat16, None)]
)
def test_float16_and_half_weights_are_refused(weights: torch.dtype, dtype: torch.dtype | None) -> None:
    net = DeepRFTv2(width=4, num_blocks=[0, 0], block_types=[['naf'] * 2] * 2).to(weights)
    with (
        torch.autocast('cpu', dtype, enabled=dtype is not None),
        pytest.raises(ValueError, match=r'torch\.autocast\(device, torch\.bfloat16\)'),
    ):
        net(torch.rand(1, 3, 16, 16))


def test_why_float16_is_refused() -> None:
    """The first value of a spectrum is the sum of the map: that of a 256x256 map of ones is beyond float16."""
    assert fke.rfft2(torch.ones(1, 1, 256, 256)).real.half().isinf().any()
    assert not fke.rfft2(torch.ones(1, 1, 256, 256)).real.bfloat16().isinf().any()


def test_a_training_step_asks_the_device_for_no_number() -> None:
    """On a GPU every such question would wait for all that was asked before."""
    net, x = network(), torch.rand(1, 3, 16, 16)
    net(x).sum().backward()
    with Types() as types:
        net(x).sum().backward()
    assert '_fft_r2c' in types.seen
    assert '_local_scalar_dense' not in types.seen
