"""torch.compile: outputs and gradients are those without it, and what it cannot follow runs without it."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def network(**options: object) -> DeepRFTv2:
    """A small network whose every branch is switched on."""
    torch.manual_seed(0)
    net = DeepRFTv2(width=4, num_blocks=[1, 0], block_types=[['nafevs', 'naf']], num_columns=1, **options)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma', 'global_gain')):
                parameter.normal_(0.3, 0.1)
    return net


def results(net: DeepRFTv2, call: DeepRFTv2, x: Tensor) -> dict[str, Tensor]:
    """The restored image, all outputs of training, and all gradients."""
    net.eval()
    with torch.no_grad():
        restored = call(x)
    net.train().zero_grad()
    outputs = [output for images in call(x, return_all=True) for output in images]
    sum(output.square().mean() for output in outputs).backward()
    found = {f'output {index}': output.detach() for index, output in enumerate(outputs)}
    return {'restored': restored, **found, **{name: parameter.grad for name, parameter in net.named_parameters()}}


def compare(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        difference = float((ours[name] - value).abs().max() / value.abs().max().clamp(min=1e-12))
        assert difference < 1e-9, name


@pytest.mark.parametrize('reversible', [True, False])
def test_the_whole_network_under_torch_compile(reversible: bool) -> None:
    """Traced, with gradients made ahead of time, and run without C++: what follows is the compiler's own affair."""
    net, x = network(reversible=reversible, fke=reversible).double(), torch.rand(1, 3, 16, 12, dtype=torch.float64)
    expected = results(net, net, x)
    traced: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        traced.append(len(graph.graph.nodes))
        return torch._dynamo.backends.debugging.aot_eager(graph, inputs)

    compare(results(net, torch.compile(net, backend=backend), x), expected)
    assert sum(traced) > 20


def test_compiled_blocks_inside_reversible_columns() -> None:
    net, x = network(reversible=True).double(), torch.rand(1, 3, 16, 12, dtype=torch.float64)
    expected = results(net, net, x)
    calls: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        compiled = torch._dynamo.backends.debugging.aot_eager(graph, inputs)
        return lambda *args: calls.append(graph) or compiled(*args)

    for module in net.modules():
        if isinstance(module, NAFBlock):
            module.compile(backend=backend)
    compare(results(net, net, x), expected)
    blocks = sum(isinstance(module, NAFBlock) for module in net.modules())
    # At least once in evaluation, twice in training: forward, and again in backward.
    assert len(calls) >= 3 * blocks


@pytest.mark.skipif(shutil.which('g++') is None, reason='no C++ compiler')
@pytest.mark.parametrize('kind', [NAFBlock, lambda channels: NAFEVSBlock(channels, index=1)], ids=['naf', 'nafevs'])
def test_a_block_in_machine_code(kind) -> None:
    torch.manual_seed(0)
    block = kind(4)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.rand(1, 4, 8, 8).contiguous(memory_format=torch.channels_last)

    def run() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        output = block(leaf)
        return [output.detach(), *torch.autograd.grad(output.square().sum(), [leaf, *block.parameters()])]

    expected = run()
    block.compile()
    for ours, plain in zip(run(), expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
