"""The fused passes: their results and gradients are those of the plain form, and they stay out where they must."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from deeprftv2_arch.nn import functional, fused
from deeprftv2_arch.nn.functional import add_scan, simple_gate
from deeprftv2_arch.nn.fused import calls
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.pointwise import PointwiseFusion
from deeprftv2_arch.nn.vsblock import SelectiveScan2d, VSBlock

# One pixel, one row, one column, a tile of the kernels, some pixels more, two samples, more columns than a strip.
SIZES = [(2, 16, 1, 1), (1, 32, 1, 5), (1, 16, 7, 1), (1, 48, 3, 48), (2, 64, 9, 33), (1, 24, 4, 30), (1, 16, 4, 258)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def drawn(module: nn.Module) -> nn.Module:
    """The module with parameters that are neither zero nor one."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def check(found: Tensor, expected: Tensor, tolerance: float = 2e-6) -> None:
    """Compare float32 with float64, as a part of the largest value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1)


def parts(channels: int) -> nn.ModuleDict:
    """Modules that the passes take, for any of them."""
    wide = 2 * channels
    made = {
        'norm': LayerNorm2d(channels),
        'scan_norm': nn.LayerNorm(wide),
        'expand': nn.Conv2d(channels, wide, 1),
        'gates': nn.Conv2d(channels, wide, 1, bias=False),
        'project': nn.Conv2d(channels, channels, 1),
        'project_wide': nn.Conv2d(wide, channels, 1, bias=False),
        'depthwise': nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
    }
    return nn.ModuleDict({name: drawn(module) for name, module in made.items()})


def flat(convolution: nn.Conv2d) -> Tensor:
    return convolution.weight.flatten(1)


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


# Name: how the pass computes it and how the plain form does, from modules and from maps.
PASSES = {
    'depthwise, gate': (
        lambda p, m: torch.add(*fused.norm_expand_depthwise(
            m.x, p['norm'], flat(p['expand']), p['expand'].bias, p['depthwise'], gates=True
        )),
        lambda p, m: (lambda y: y + mean(y))(simple_gate(p['depthwise'](p['expand'](p['norm'](m.x))))),
    ),
    'depthwise, gelu': (
        lambda p, m: fused.norm_expand_depthwise(
            m.x, p['norm'], flat(p['gates']), None, p['depthwise'], gates=False
        )[0],
        lambda p, m: F.gelu(p['depthwise'](p['gates'](p['norm'](m.x)))),
    ),
    'update': (
        lambda p, m: fused.update(m.x, m.base, flat(p['project']), p['project'].bias),
        lambda p, m: m.base + p['project'](m.x),
    ),
    'linear': (
        lambda p, m: fused.linear(m.x, flat(p['expand'])[3:], p['expand'].bias[3:]),
        lambda p, m: p['expand'](m.x)[:, 3:],
    ),
    'update of each sample': (
        lambda p, m: fused.update(m.x, m.base, m.each, None),
        lambda p, m: m.base + torch.einsum('nkc,nchw->nkhw', m.each, m.x),
    ),
    'feed forward': (
        lambda p, m: fused.feed_forward(m.x, p['norm'], p['expand'], flat(p['project']), p['project'].bias),
        lambda p, m: m.x + p['project'](simple_gate(p['expand'](p['norm'](m.x)))),
    ),
    'gated update': (
        lambda p, m: fused.gated_update(
            m.scanned, m.x, m.base, p['norm'], flat(p['gates']), p['scan_norm'], flat(p['project_wide'])
        ),
        lambda p, m: m.base + p['project_wide'](
            p['scan_norm'](m.scanned.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * F.gelu(p['gates'](p['norm'](m.x)))
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('name', PASSES)
def test_every_pass_has_the_values_and_gradients_of_the_plain_form(name: str, size: tuple, monkeypatch) -> None:
    monkeypatch.setattr(calls, '_ELEMENTS', 1)
    monkeypatch.setattr(calls, '_SUMMED', 512)  # several shares for the sums
    batch, channels, *_ = size
    modules, (ours, plain) = parts(channels), PASSES[name]
    maps = {'x': 3 * torch.randn(size), 'base': torch.randn(size), 'each': torch.randn(batch, channels, channels)}
    maps['scanned'] = torch.randn(batch, 2 * channels, *size[2:])
    found = run(ours, modules, maps)
    expected = run(plain, modules.double(), {key: value.double() for key, value in maps.items()})
    assert found.keys() == expected.keys()
    assert len(found) > 3
    for key, value in found.items():
        check(value, expected[key], 2e-6 if key == 'value' else 5e-6)


def run(function, modules: nn.ModuleDict, maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """The value of a function and the gradients of all that it depends on, with autograd and without."""
    leaves = {key: value.clone().requires_grad_() for key, value in maps.items()}
    value = function(modules, SimpleNamespace(**leaves))
    with torch.no_grad():
        torch.testing.assert_close(function(modules, SimpleNamespace(**maps)), value, rtol=0, atol=0)
    leaves.update(modules.named_parameters())
    weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value.dtype)
    gradients = torch.autograd.grad(value, list(leaves.values()), weights, allow_unused=True)
    used = {key: gradient for key, gradient in zip(leaves, gradients, strict=True) if gradient is not None}
    return {'value': value.detach(), **used}


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('kernel', [None, 6])
@pytest.mark.parametrize('make', [NAFBlock, lambda channels, kernel: NAFEVSBlock(channels, 0, kernel)])
def test_blocks_have_the_same_values_and_gradients_as_in_float64(make, kernel, threads: int, monkeypatch) -> None:
    monkeypatch.setattr(calls, '_ELEMENTS', 1)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    block, x = drawn(make(32, kernel)), torch.randn(2, 32, 10, 9)
    if hasattr(block, 'scan'):  # the scan's decay and step sizes as they are trained
        nn.init.constant_(block.scan.A_log, 0.5)
        nn.init.constant_(block.scan.dt_proj.bias, -3.0)
    assert fused.runs(x)

    def gradients(block: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        value = block(x)
        return value.detach(), *torch.autograd.grad(value.square().mean(), block.parameters())

    found = gradients(block, x)
    for ours, exact in zip(found, gradients(block.double(), x.double()), strict=True):
        assert (ours - exact).abs().max() <= 1e-4 * exact.abs().max()


def test_plain_form_where_a_kernel_cannot_read_the_map() -> None:
    x = torch.randn(1, 16, 4, 4)
    assert fused.runs(x)
    assert not fused.runs(x.double())
    assert not fused.runs(x, x.double())
    assert not fused.runs(x.to('meta'))
    assert not fused.runs(x[:, :15])
    assert not fused.runs(x[:, :, :0])
    with torch.autocast('cpu', torch.bfloat16):
        assert not fused.runs(x)


def test_traced_blocks_work_on_other_images() -> None:
    block, images = drawn(NAFBlock(16)), torch.randn(2, 1, 16, 6, 5)
    traced = torch.jit.trace(block, images[0], check_trace=False)
    check(traced(images[1]), block(images[1]).double())


def test_blocks_work_under_the_transforms_of_torch() -> None:
    block, x = drawn(NAFBlock(16)), torch.randn(2, 16, 5, 6)
    expected = torch.autograd.grad(block(x).square().sum(), block.norm1.weight)[0]

    def loss(weight: Tensor, image: Tensor) -> Tensor:
        return torch.func.functional_call(block, {'norm1.weight': weight}, (image[None],)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(block.norm1.weight.detach(), x).sum(0)
    check(found, expected.double())


def test_blocks_have_derivatives_in_forward_mode() -> None:
    block, x, direction = drawn(NAFBlock(16)), torch.randn(2, 16, 5, 6, requires_grad=True), torch.randn(2, 16, 5, 6)
    value = block(x)
    weights = torch.randn_like(value)
    expected = (torch.autograd.grad(value, x, weights)[0] * direction).sum()
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(block(forward_ad.make_dual(x.detach(), direction))).tangent
    torch.testing.assert_close((found * weights).sum(), expected, rtol=1e-4, atol=1e-3)


def test_plain_form_where_the_environment_asks_for_it(monkeypatch) -> None:
    monkeypatch.setenv('DEEPRFTV2_FUSED', '0')
    calls.passes.cache_clear()
    try:
        assert not fused.runs(torch.randn(1, 16, 4, 4))
    finally:
        monkeypatch.undo()
        calls.passes.cache_clear()
    assert fused.runs(torch.randn(1, 16, 4, 4))


def test_plain_form_where_numba_fails(monkeypatch, caplog) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    block, x = drawn(NAFBlock(16)), torch.randn(1, 16, 4, 4)
    expected = block(x)
    calls.passes.cache_clear()
    try:
        monkeypatch.setattr(calls.importlib, 'import_module', fail)
        assert not fused.runs(x)
        assert 'The fused passes cannot run here' in caplog.text
        check(block(x), expected.double())
    finally:
        calls.passes.cache_clear()


@pytest.mark.parametrize(
    ('block', 'part'),
    [
        (NAFBlock, 'depthwise'),
        (NAFBlock, 'pool'),
        (NAFBlock, 'project'),
        (NAFBlock, 'ffn_expand'),
        (VSBlock, 'scan'),
        (VSBlock, 'scan.out_norm'),
    ],
)
def test_hooks_on_parts_of_a_block_are_called(block: type[nn.Module], part: str) -> None:
    block, x, seen = drawn(block(16)), torch.randn(1, 16, 4, 4), []
    expected = block(x)
    block.get_submodule(part).register_forward_hook(lambda module, inputs, output: seen.append(output))
    check(block(x), expected.double())
    assert len(seen) == 1


def test_hooks_on_all_modules_are_called() -> None:
    block, x, seen = drawn(NAFBlock(16)), torch.randn(1, 16, 4, 4), []
    hook = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append(module))
    try:
        block(x)
    finally:
        hook.remove()
    assert block.depthwise in seen


@pytest.mark.parametrize('part', ['expand', 'depthwise', 'norm2'])
def test_what_stands_in_the_place_of_a_part_is_called(part: str) -> None:
    class Halved(nn.Module):
        """A module around another, with its parameters within reach, as low-rank adapters are."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.weight, self.bias = inner, inner.weight, inner.bias
            self.eps = getattr(inner, 'eps', None)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) / 2

    block, x = drawn(NAFBlock(16)), torch.randn(1, 16, 4, 4)
    setattr(block, part, Halved(block.get_submodule(part)))
    check(block(x), block.double()(x.double()))


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (5, 20), (13, 17)], ids=str)
def test_scans_have_the_inputs_of_the_plain_form(size: tuple[int, int], monkeypatch) -> None:
    scan = drawn(SelectiveScan2d(24))
    spread = scan.dt_proj.weight
    features = torch.randn(2, 48, *size, requires_grad=True)
    leaves = features, scan.x_proj.weight, *scan.sequence_conv.parameters(), spread

    def results() -> list[Tensor]:
        found = functional.scan_inputs(features, scan.x_proj, scan.sequence_conv, spread)
        return [*found, *torch.autograd.grad(sum(x.square().sum() for x in found), leaves)]

    ours = results()
    monkeypatch.setattr(fused, 'runs', lambda *maps: False)
    for x, plain in zip(ours, results(), strict=True):
        check(x, plain, 5e-6)


@pytest.mark.parametrize('make', [NAFBlock, lambda channels: NAFEVSBlock(channels, 1)])
def test_empty_batches_have_gradients(make) -> None:
    block, x = make(16), torch.randn(0, 16, 4, 5, requires_grad=True)
    value = block(x)
    assert value.shape == x.shape
    value.sum().backward()
    assert x.grad.shape == x.shape
    assert all(not parameter.grad.any() for parameter in block.parameters())


def test_gradients_do_not_depend_on_the_default_precision() -> None:
    block, x = drawn(NAFBlock(16)), torch.randn(1, 16, 4, 5)
    expected = torch.autograd.grad(block(x).square().sum(), block.parameters())
    torch.set_default_dtype(torch.float64)
    try:
        found = torch.autograd.grad(block(x).square().sum(), block.parameters())
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, same in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, same, rtol=0, atol=0)


def strided(x: Tensor) -> Tensor:
    """The same values, in memory that is not in one piece."""
    return torch.stack([x.detach(), torch.full_like(x, torch.nan)], dim=-1)[..., 0]


@pytest.mark.parametrize('make', [NAFBlock, VSBlock])
def test_parameters_may_lie_anywhere_in_memory(make: type[nn.Module]) -> None:
    block, x = drawn(make(16)), torch.randn(2, 16, 4, 5)
    expected = block(x), *torch.autograd.grad(block(x).square().sum(), block.parameters())
    block.load_state_dict({name: strided(value) for name, value in block.state_dict().items()}, assign=True)
    assert not any(parameter.is_contiguous() for parameter in block.parameters())
    found = block(x), *torch.autograd.grad(block(x).square().sum(), block.parameters())
    for ours, same in zip(found, expected, strict=True):
        check(ours, same.double())


def test_gradients_may_lie_anywhere_in_memory() -> None:
    modules, x = parts(16), torch.randn(2, 16, 4, 5, requires_grad=True)
    value, mean_value = fused.norm_expand_depthwise(
        x, modules['norm'], flat(modules['expand']), None, modules['depthwise'], gates=True
    )
    gradient, mean_gradient = torch.randn_like(value), torch.randn_like(mean_value)
    find = partial(torch.autograd.grad, (value, mean_value), x, retain_graph=True)
    expected = find((gradient, mean_gradient))[0]
    found = find((gradient.contiguous(), mean_gradient.transpose(0, 1).contiguous().transpose(0, 1)))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    found = find(((-gradient)._neg_view(), (-mean_gradient)._neg_view()))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_maps_that_do_not_fit_are_refused() -> None:
    x, modules = torch.randn(1, 16, 4, 5), parts(16)
    wide, low = torch.randn(1, 32, 4, 5), torch.randn(1, 16, 3, 5)
    project, expand = flat(modules['project']), flat(modules['expand'])
    wrong = [
        lambda: fused.linear(wide, project, None),
        lambda: fused.update(wide, x, project, None),
        lambda: fused.update(x, low, project, None),
        lambda: fused.update(x, x, project.expand(2, 16, 16), None),
        lambda: fused.feed_forward(wide, modules['norm'], modules['expand'], project, modules['project'].bias),
        lambda: fused.norm_expand_depthwise(wide, modules['norm'], expand, None, modules['depthwise'], gates=True),
        lambda: fused.gated_update(
            wide, low, x, modules['norm'], flat(modules['gates']), modules['scan_norm'], flat(modules['project_wide'])
        ),
        lambda: PointwiseFusion(32, 16)(x, low),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match='needs a tensor of shape'):
            call()


def test_weights_in_another_precision_are_refused() -> None:
    block, x = drawn(NAFBlock(16)), torch.randn(1, 16, 4, 5)
    with pytest.raises(TypeError, match='float64'):
        block.double()(x)


@pytest.mark.parametrize('scaled', [True, False])
def test_the_scan_is_scaled_and_added_alike_in_both_forms(scaled: bool) -> None:
    scan, norm = drawn(SelectiveScan2d(16)), drawn(LayerNorm2d(16))
    base, x = torch.randn(2, 1, 16, 4, 5)
    gain = torch.randn(1, 16, 1, 1) if scaled else None
    found = add_scan(base, x, norm, scan, gain)
    check(found, (base + scan(norm(x)) * (1 if gain is None else gain)).double(), 1e-5)
    scan.register_forward_hook(lambda module, inputs, output: None)
    check(found, add_scan(base, x, norm, scan, gain).double(), 1e-5)
