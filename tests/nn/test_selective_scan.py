"""Every backend of the selective scan against the published values and against the recurrence as written."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest
import torch
from published import distance, load
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deeprftv2_arch.nn.selective_scan import available_backends, selective_scan

NAMES = ('u', 'delta', 'A', 'B', 'C', 'D', 'delta_bias')
SHAPES = [
    (1, 1, 1, 1),
    (2, 7, 3, 8),
    (1, 64, 16, 8),
    (2, 65, 33, 8),
    (1, 130, 48, 8),
    (3, 200, 100, 4),
    (1, 300, 17, 1),
]


def make_inputs(
    batch: int, length: int, features: int, states: int, trained: bool = False, seed: int = 0
) -> dict[str, Tensor]:
    """Float64 arguments as a fresh network has them, or as wide as trained ones: steps up to 3, rates to -24."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    steps = torch.empty(features, dtype=torch.float64).uniform_(-7, -2, generator=g).exp()
    rates = -torch.arange(1.0, states + 1, dtype=torch.float64).repeat(features, 1)
    inputs = {
        'u': normal(batch, length, features),
        'delta': 0.5 * normal(batch, length, features),
        'A': rates,
        'B': normal(batch, length, states),
        'C': normal(batch, length, states),
        'D': 1 + 0.1 * normal(features),
        'delta_bias': steps + torch.log(-torch.expm1(-steps)),
    }
    if trained:
        inputs['A'] = rates * torch.exp(0.4 * normal(features, states))
        inputs['delta_bias'] = inputs['delta_bias'] + 3
        inputs['delta'] = 2.5 * inputs['delta']
    return inputs


def run(inputs: dict[str, Tensor], backend: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Output and the gradients of a weighted sum of it, in float64."""
    leaves = {name: value.to(dtype).requires_grad_() for name, value in inputs.items()}
    y = selective_scan(*leaves.values(), backend=backend)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    y.backward(weights.to(dtype))
    return {'y': y.detach().double()} | {name: leaf.grad.double() for name, leaf in leaves.items()}


def worst(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Largest error of an array as a part of its largest value."""
    return max(float((ours[name] - exact[name]).abs().max() / exact[name].abs().max()) for name in exact)


@pytest.mark.parametrize('trained', [False, True], ids=['initial', 'trained'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_wide_equals_the_recurrence_in_float64(shape: tuple[int, ...], trained: bool) -> None:
    inputs = make_inputs(*shape, trained=trained)
    assert worst(run(inputs, 'wide', torch.float64), run(inputs, 'reference', torch.float64)) < 1e-12


@pytest.mark.parametrize('trained', [False, True], ids=['initial', 'trained'])
@pytest.mark.parametrize('shape', [*SHAPES, (1, 5000, 96, 8)], ids=str)
@pytest.mark.parametrize('backend', ['numba', 'wide'])
def test_float32_is_as_exact_as_it_can_be(backend: str, shape: tuple[int, ...], trained: bool) -> None:
    inputs = make_inputs(*shape, trained=trained)
    rounded = {name: value.float().double() for name, value in inputs.items()}
    assert worst(run(rounded, backend, torch.float32), run(rounded, 'wide', torch.float64)) < 2e-6


@pytest.mark.parametrize('backend', ['numba', 'wide', 'reference'])
def test_published_values(backend: str) -> None:
    golden = load('scan')
    dtype = torch.float32 if backend == 'numba' else torch.float64
    u, delta, b, c = (torch.from_numpy(golden[f'scan_{name}']).to(dtype) for name in ('u', 'delta', 'B', 'C'))
    a, d, bias = (torch.from_numpy(golden[f'scan_{name}']).to(dtype) for name in ('A', 'D', 'bias'))
    y = selective_scan(
        u.transpose(1, 2), delta.transpose(1, 2), a, b[:, 0].transpose(1, 2), c[:, 0].transpose(1, 2), d, bias,
        backend=backend,
    )  # fmt: skip
    assert distance(y.transpose(1, 2), golden['scan_out']) < (1e-6 if backend == 'numba' else 1e-12)


def test_gradients_of_wide_are_those_of_its_output() -> None:
    inputs = [value.requires_grad_() for value in make_inputs(2, 9, 3, 2, trained=True).values()]
    assert torch.autograd.gradcheck(lambda *args: selective_scan(*args, backend='wide'), inputs)


@pytest.mark.parametrize('backend', ['numba', 'wide'])
def test_views_and_inputs_that_need_no_gradient(backend: str) -> None:
    inputs = {name: value.float() for name, value in make_inputs(2, 70, 20, 8).items()}
    expected = run(inputs, backend, torch.float32)
    # Every second row and column of something larger, or transposed: nothing is contiguous.
    views = {n: v.repeat_interleave(2, -1)[..., ::2] if n != 'u' else v.mT.contiguous().mT for n, v in inputs.items()}
    assert not any(view.is_contiguous() for view in views.values())
    for name in NAMES:
        leaves = {key: value.detach().requires_grad_(key == name) for key, value in views.items()}
        y = selective_scan(*leaves.values(), backend=backend)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        y.backward(weights.float())
        torch.testing.assert_close(y.double(), expected['y'])
        torch.testing.assert_close(leaves[name].grad.double(), expected[name], rtol=1e-5, atol=1e-5)
        assert all(leaf.grad is None for key, leaf in leaves.items() if key != name)
    with torch.no_grad():
        torch.testing.assert_close(selective_scan(*views.values(), backend=backend).double(), expected['y'])


@pytest.mark.parametrize('backend', ['numba', 'wide'])
def test_recomputation_inside_a_backward_pass(backend: str) -> None:
    inputs = make_inputs(1, 70, 20, 8)
    expected = run(inputs, backend, torch.float32)
    leaves = [value.float().requires_grad_() for value in inputs.values()]
    y = checkpoint(lambda *args: selective_scan(*args, backend=backend), *leaves, use_reentrant=False)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    y.backward(weights.float())
    for name, leaf in zip(NAMES, leaves, strict=True):
        torch.testing.assert_close(leaf.grad.double(), expected[name], rtol=1e-5, atol=1e-5)


def test_half_precision_is_computed_in_float32() -> None:
    inputs = make_inputs(1, 40, 16, 8)
    half = [value.bfloat16() for value in inputs.values()]
    exact = selective_scan(*(value.float() for value in half))
    y = selective_scan(*half)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, exact.bfloat16())
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(selective_scan(*(value.float() for value in half)), exact)


def _scan_in_child(queue: multiprocessing.Queue) -> None:
    queue.put(float(selective_scan(*(value.float() for value in make_inputs(1, 70, 64, 8).values())).sum()))


def test_a_forked_process_can_scan() -> None:
    """As the worker of a data loader, whose parent has scanned with threads before."""
    expected = selective_scan(*(value.float() for value in make_inputs(1, 70, 64, 8).values())).sum()
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_scan_in_child, args=(queue,), daemon=True)
    child.start()
    assert queue.get(timeout=60) == pytest.approx(float(expected))
    child.join(60)
    assert child.exitcode == 0


def test_the_cpu_takes_numba_in_float32_and_wide_in_float64() -> None:
    assert available_backends('cpu', torch.float32)[0] == 'numba'
    assert available_backends('cpu', torch.float64)[0] == 'wide'


def test_a_forced_backend_and_a_missing_numba_are_told() -> None:
    script = (
        'import sys, logging, torch; sys.modules.update(numba=None)\n'
        'logging.basicConfig(level=logging.INFO, format="%(message)s")\n'
        'from deeprftv2_arch.nn.selective_scan import selective_scan\n'
        'o = torch.ones\n'
        'selective_scan(o(1, 2, 3), o(1, 2, 3), -o(3, 1), o(1, 2, 1), o(1, 2, 1), o(3), o(3))'
    )
    environment = {key: value for key, value in os.environ.items() if key != 'DEEPRFTV2_SCAN'}

    def log(**changes: str) -> str:
        command = [sys.executable, '-c', script]
        return subprocess.run(command, env=environment | changes, capture_output=True, text=True).stderr

    assert 'runs without numba' in log()
    assert 'selective scan: reference on cpu' in log(DEEPRFTV2_SCAN='reference')
    assert "asks for 'fast', which cannot run on cpu" in log(DEEPRFTV2_SCAN='fast')


@pytest.mark.parametrize('name', NAMES)
def test_a_wrong_shape_is_named(name: str) -> None:
    inputs = make_inputs(2, 5, 3, 4)
    inputs[name] = torch.ones(2, 5, 3, 4)
    with pytest.raises(ValueError, match=rf'selective_scan: {name} must'):
        selective_scan(*inputs.values())


@pytest.mark.parametrize('backend', ['triton', 'mamba_ssm', 'cuda'])
def test_a_backend_that_cannot_run_here_is_refused_with_those_that_can(backend: str) -> None:
    with pytest.raises(ValueError, match=rf"'{backend}', which cannot run on cpu .* Choices here: numba, wide"):
        selective_scan(*(value.float() for value in make_inputs(1, 5, 3, 2).values()), backend=backend)
