"""What the backends of the selective scan promise beyond their numbers: threads, forks, caches, NaN, CUDA's kernels."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.kernels import threads
from deeprftv2_arch.nn.selective_scan import mamba, reference, selective_scan

ROOT = Path(__file__).resolve().parents[2]


def make_inputs(batch: int, length: int, features: int, states: int = 8) -> list[Tensor]:
    g = torch.Generator().manual_seed(3)
    shapes = ((batch, length, features),) * 2 + ((features, states),) + ((batch, length, states),) * 2
    u, delta, a, b, c = (torch.randn(shape, generator=g) for shape in shapes)
    d, bias = torch.randn(2, features, generator=g)
    return [u, delta, -8 * a.abs(), b, c, d, bias - 3]


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, with a time limit that turns a deadlock into a failure."""
    return subprocess.run(
        [sys.executable, '-c', script],
        env=os.environ | {'PYTHONPATH': str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


THREADS = """
import os, threading, torch
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.kernels import threads
from deeprftv2_arch.nn.selective_scan import selective_scan

g = torch.Generator().manual_seed(3)
shapes = (2, 700, 150), (2, 700, 150), (150, 8), (2, 700, 8), (2, 700, 8), (150,), (150,)
inputs = [torch.randn(shape, generator=g) for shape in shapes]
inputs[2] = -8 * inputs[2].abs()

def scan(threads):
    torch.set_num_threads(threads)
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = selective_scan(*leaves, backend='numba')
    return [y.detach(), *torch.autograd.grad(y.square().sum(), leaves)]

def same(ours):
    for a, b in zip(ours, one, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))

one = scan(1)
same(scan(2))
same(scan(5))

def in_fork():
    child = os.fork()
    if child == 0:
        # Large operations of torch itself hang in a child that has threads set, so only the scan runs with them.
        torch.set_num_threads(2)
        with torch.no_grad():
            y = selective_scan(*inputs, backend='numba')
        torch.set_num_threads(1)  # as a data loader's worker
        same([y, *scan(1)[1:]])
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


def test_threads_change_nothing_and_a_fork_after_them_does_not_hang() -> None:
    done = run_python(
        THREADS
        + """
in_fork()  # the threads that have just worked do not exist in the child
same(scan(2))  # and the parent goes on
print('done')
"""
    )
    assert done.stdout == 'done\n', done.stderr


def test_without_torch_s_threads_a_pool_does_the_same() -> None:
    done = run_python(
        THREADS
        + """
threads._openmp = lambda: None
same(scan(2))
in_fork()
assert any(thread.name.startswith('selective-scan') for thread in threading.enumerate())
print('done')
"""
    )
    assert done.stdout == 'done\n', done.stderr


@pytest.mark.parametrize('runner', ['_run_in_openmp', '_run_in_pool'])
def test_an_error_in_a_thread_is_raised(runner: str) -> None:
    if runner == '_run_in_openmp' and threads._openmp() is None:
        pytest.skip('torch is not linked to an OpenMP library with GOMP_parallel')

    def fail() -> None:
        raise KeyError('in a thread')

    with pytest.raises(KeyError, match='in a thread'):
        getattr(threads, runner)(fail, 2)


def test_scans_at_the_same_time_do_not_disturb_each_other() -> None:
    inputs = make_inputs(1, 600, 70)
    expected = selective_scan(*inputs)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: selective_scan(*inputs), range(12)))
    assert all(torch.equal(result, expected) for result in results)


class _ScanAgain(torch.autograd.Function):
    """As a reversible block: keeps the inputs, scans again inside its backward pass."""

    @staticmethod
    def forward(ctx, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        with torch.no_grad():
            return selective_scan(*inputs)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            return torch.autograd.grad(selective_scan(*leaves), leaves, dy)


def test_a_scan_inside_the_backward_pass_of_a_function() -> None:
    inputs = [x.requires_grad_() for x in make_inputs(1, 90, 20)]
    expected = torch.autograd.grad(selective_scan(*inputs).sum(), inputs)
    for ours, plain in zip(torch.autograd.grad(_ScanAgain.apply(*inputs).sum(), inputs), expected, strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize('index', [0, 1, 2, 3, 4, 5, 6])
def test_nan_comes_out_where_the_recurrence_has_it(index: int) -> None:
    inputs = make_inputs(1, 40, 20)
    inputs[index].view(-1)[inputs[index].numel() // 2] = torch.nan
    exact = reference.scan(*inputs)
    assert exact.isnan().any()
    for backend in ('numba', 'wide'):
        assert torch.equal(selective_scan(*inputs, backend=backend).isnan(), exact.isnan())


def test_very_large_steps_forget_the_past() -> None:
    inputs = make_inputs(1, 80, 20)
    inputs[1] = inputs[1] + torch.linspace(-60, 300, 80)[:, None]
    exact = reference.scan(*(x.double() for x in inputs))
    for backend in ('numba', 'wide'):
        y = selective_scan(*inputs, backend=backend)
        torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-6 * float(exact.abs().max()))


def test_the_machine_code_is_kept_where_it_can_be_and_not_missed_where_it_cannot(tmp_path: Path) -> None:
    script = (
        'import torch\nfrom deeprftv2_arch.nn.kernels import build\n'
        'build.njit = lambda **flags: (lambda f: f) if not flags.get("cache") else refuse\n'
        'def refuse(function): raise RuntimeError("cannot cache function: no locator available")\n'
        'def plain(x): return x + 1\n'
        'assert build.compiled(plain)(1) == 2\n'
        'print(plain.__qualname__)'
    )
    done = run_python(script, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.startswith('plain_'), done.stderr
    assert len(done.stdout.strip()) == len('plain_') + 16  # the digest of the sources, see `compiled`


@pytest.mark.skipif(importlib.util.find_spec('triton') is None, reason='triton is not installed')
def test_triton_kernels_in_its_interpreter() -> None:
    script = """
import torch
from deeprftv2_arch.nn.selective_scan import reference, triton_cuda

triton_cuda._CHUNK = 16  # two chunks, the second not full; two blocks of features, the second not full; 3 of 4 states
g = torch.Generator().manual_seed(3)
shapes = (2, 21, 18), (2, 21, 18), (18, 3), (2, 21, 3), (2, 21, 3), (18,), (18,)
inputs = [torch.randn(shape, generator=g) for shape in shapes]
inputs[2] = -8 * inputs[2].abs()
dy = torch.randn(2, 21, 18, generator=g)

def gradients(scan, dtype):
    leaves = [x.to(dtype).requires_grad_() for x in inputs]
    y = scan(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(dtype))]

ours, exact = gradients(triton_cuda.scan, torch.float32), gradients(reference.scan, torch.float64)
for ours, exact in zip(ours, exact, strict=True):
    error = float((ours.double() - exact).abs().max() / exact.abs().max())
    assert error < 2e-6, error
print('done')
"""
    done = run_python(script, TRITON_INTERPRET='1')
    assert done.stdout == 'done\n', done.stderr


@pytest.mark.skipif(importlib.util.find_spec('triton') is None, reason='triton is not installed')
def test_triton_kernels_become_machine_code_without_a_gpu(tmp_path: Path) -> None:
    script = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from deeprftv2_arch.nn.selective_scan import triton_cuda as kernels

sizes = {'N': 8, 'STATES': 8, 'BLOCK': kernels._BLOCK}
chunk = {'CHUNK': kernels._CHUNK}
work = [
    (kernels._chunk_end, {**sizes, **chunk, 'REVERSE': False}, 1),
    (kernels._chunk_end, {**sizes, **chunk, 'REVERSE': True}, 1),
    (kernels._join_chunks, {**sizes, 'REVERSE': True}, 1),
    (kernels._chunk_outputs, {**sizes, **chunk}, 1),
    (kernels._chunk_gradients, {**chunk, 'N': 8, 'BLOCK': kernels._BLOCK}, 4),
]
for capability in (80, 90):  # A100, H100
    for kernel, constants, warps in work:
        types = {name: '*fp32' if name.endswith('_ptr') else 'i32' for name in kernel.arg_names}
        types.update(dict.fromkeys(constants, 'constexpr'))
        source = ASTSource(kernel, types, constants)
        made = triton.compile(source, target=GPUTarget('cuda', capability, 32), options={'num_warps': warps})
        assert len(made.asm['cubin']) > 1000
print('done')
"""
    done = run_python(script, TRITON_CACHE_DIR=str(tmp_path))
    assert done.stdout == 'done\n', done.stderr


def test_mamba_ssm_gets_its_own_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    def scan_of_the_package(u, delta, A, B, C, D, z=None, delta_bias=None, delta_softplus=False):
        assert delta_softplus
        assert all(x.is_contiguous() for x in (u, delta, B, C))
        u, delta, B, C = (x.transpose(1, 2) for x in (u, delta, B, C))
        return reference.scan(u, delta, A, B, C, D, delta_bias).transpose(1, 2)

    interface = types.SimpleNamespace(selective_scan_fn=scan_of_the_package, selective_scan_cuda=object())
    monkeypatch.setattr(mamba, '_interface', lambda: (interface, ''))
    inputs = make_inputs(2, 9, 5)
    torch.testing.assert_close(mamba.scan(*inputs), reference.scan(*inputs))


def test_mamba_ssm_without_its_kernel_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    interface = types.ModuleType('mamba_ssm.ops.selective_scan_interface')
    interface.selective_scan_cuda = None  # what the package does when its kernel was not built
    ops, package = types.ModuleType('mamba_ssm.ops'), types.ModuleType('mamba_ssm')
    ops.selective_scan_interface, package.ops = interface, ops
    for name, module in {
        'mamba_ssm': package,
        'mamba_ssm.ops': ops,
        'selective_scan_cuda': types.ModuleType('k'),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    mamba._interface.cache_clear()
    try:
        assert 'without its kernel' in mamba.unusable_reason(torch.device('cuda'), torch.float32)
    finally:
        mamba._interface.cache_clear()


@pytest.mark.parametrize('forced', ['', 'numba'])
@pytest.mark.parametrize('grad', [True, False])
def test_a_trace_computes_what_it_was_made_from(forced: str, grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DEEPRFTV2_SCAN', forced)
    inputs, others = make_inputs(2, 20, 8), [x * 0.5 for x in make_inputs(2, 20, 8)]
    if grad:
        inputs = [x.requires_grad_() for x in inputs]
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(selective_scan, inputs, check_trace=False)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for arguments in (inputs, others):
            torch.testing.assert_close(traced(*arguments), reference.scan(*arguments), rtol=1e-4, atol=1e-5)


def test_a_trace_of_an_estimator_computes_what_it_was_made_from() -> None:
    net = FourierKernelEstimator(8, image_channels=None, window=8, overlap=2).eval().requires_grad_(False)
    feature = torch.rand(1, 8, 12, 10)
    traced = torch.jit.trace(lambda x: net(x).feature, feature, check_trace=False)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        for x in (feature, 1 - feature):
            torch.testing.assert_close(traced(x), net(x).feature)
