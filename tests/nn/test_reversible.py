"""Reversible against ordinary autograd: the same gradients with less memory."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.nn.column_state import ColumnState, MapKey, MapKind, Scaling
from deeprftv2_arch.nn.reversible import run_reversible

VERBS = ('coupled_update', 'replace', 'replace', 'output')
A, B, C, D = KEYS = [MapKey(0, MapKind.ENCODED, level) for level in range(4)]
SMALL = {'width': 4, 'num_blocks': [1, 2, 1], 'block_types': [['naf', 'nafevs', 'nafevs'], ['naf'] * 3]}


def small_network(dtype: torch.dtype = torch.float64, **options: object) -> DeepRFTv2:
    torch.manual_seed(1)
    net = DeepRFTv2(**{**SMALL, 'num_columns': 3, **options}).to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def scale_scalings(net: nn.Module, low: float, high: float) -> None:
    """Draw every scaling from +-[low, high]."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Scaling):
                size = torch.empty_like(module.weight).uniform_(low, high)
                module.weight.copy_(size * torch.sign(torch.randn_like(size)))


def gradients(net: DeepRFTv2, x: Tensor, reversible: bool) -> dict[str, Tensor]:
    """Gradients of a loss over all outputs, with respect to every parameter and the image."""
    net.reversible = reversible
    net.zero_grad()
    x = x.detach().requires_grad_()
    outputs = net(x, return_all=True)
    torch.manual_seed(2)
    weighted = (output * torch.randn(output.shape, dtype=torch.float64) for images in outputs for output in images)
    sum(output.sum() for output in weighted).backward()
    return {'image': x.grad, **{key: parameter.grad for key, parameter in net.named_parameters()}}


def worst_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Largest relative difference of a gradient; gradients that are zero must be zero on both sides."""
    assert first.keys() == second.keys()
    return max(
        float((first[key] - second[key]).norm() / second[key].norm()) if second[key].any() else float(first[key].norm())
        for key in first
    )


@pytest.mark.parametrize('options', [{}, {'fke': False}, {'fke_window': 16, 'fke_overlap': 8}], ids=str)
@pytest.mark.parametrize('scalings', [(0.4, 0.6), (1e-3, 2e-3), (0, 0)], ids=str)
def test_float64_gradients_equal_those_of_autograd(options: dict, scalings: tuple[float, float]) -> None:
    net, x = small_network(**options), torch.rand(1, 3, 24, 32, dtype=torch.float64)
    scale_scalings(net, *scalings)
    assert worst_difference(gradients(net, x, True), gradients(net, x, False)) < 1e-10


@pytest.mark.parametrize('block_types', [[['naf', 'nafevs', 'nafevs'], ['naf'] * 3], [['naf'] * 3] * 2], ids=['B', 'S'])
@pytest.mark.parametrize('scalings', [(0.4, 0.6), (1e-3, 1e-2)], ids=str)
def test_published_networks_have_the_gradients_of_autograd(
    block_types: list[list[str]], scalings: tuple[float, float]
) -> None:
    """All blocks and columns as published; every branch switched on."""
    torch.manual_seed(3)
    net = DeepRFTv2(block_types=block_types).double()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma', 'global_gain')):
                parameter.normal_(0, 0.2)
    scale_scalings(net, *scalings)
    x = torch.rand(1, 3, 16, 24, dtype=torch.float64)
    assert worst_difference(gradients(net, x, True), gradients(net, x, False)) < 1e-10


@pytest.mark.parametrize('scalings', [(0.4, 0.6), (0.05, 0.06), (0.04, 0.05), (1e-3, 2e-3)], ids=str)
def test_small_scalings_cost_no_precision_in_float32(scalings: tuple[float, float]) -> None:
    """Where dividing by the scalings would lose too much the old map is kept."""
    net, x = small_network(torch.float32), torch.rand(1, 3, 24, 32)
    scale_scalings(net, *scalings)
    exact = gradients(net.double(), x.double(), False)
    plain = gradients(net.float(), x, False)
    ours = gradients(net, x, True)
    error = worst_difference({key: value.double() for key, value in ours.items()}, exact)
    autograd_error = worst_difference({key: value.double() for key, value in plain.items()}, exact)
    print(f'reversible {error:.1e}, autograd {autograd_error:.1e}')
    assert error < 20 * autograd_error


def test_gradients_accumulate_and_two_graphs_can_live_at_once() -> None:
    net, (x, y) = small_network(), torch.rand(2, 1, 3, 16, 16, dtype=torch.float64)
    first, second = gradients(net, x, True), gradients(net, y, True)
    apart = {key: first[key] + second[key] for key in first if key != 'image'}
    net.zero_grad()
    losses = []
    for image in (x, y):
        torch.manual_seed(2)
        outputs = net(image, return_all=True)
        losses.extend(
            (output * torch.randn(output.shape, dtype=torch.float64)).sum() for images in outputs for output in images
        )
    sum(losses).backward()
    together = {key: parameter.grad for key, parameter in net.named_parameters()}
    assert worst_difference(together, apart) < 1e-12


def test_a_parameter_changed_before_backward_is_noticed() -> None:
    net = small_network()
    loss = net(torch.rand(1, 3, 8, 8, dtype=torch.float64)).sum()
    with torch.no_grad():
        net.columns[0].unets[0].head.weight.mul_(2)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        loss.backward()


def test_frozen_parameters_get_no_gradient() -> None:
    net = small_network()
    frozen = net.columns[0].unets[0].encoder
    frozen.requires_grad_(False)
    net(torch.rand(1, 3, 8, 8, dtype=torch.float64)).sum().backward()
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert net.columns[0].unets[0].decoder.levels[0].up.weight.grad.any()


def test_autocast_recomputes_in_the_precision_of_the_forward_pass() -> None:
    net, seen = small_network(torch.float32), {'first': [], 'last': []}
    unets = [column.unets[0] for column in net.columns]
    for name, module in (('first', unets[0].head), ('last', unets[-1].fke.tail)):
        module.register_forward_hook(lambda _, inputs, output, name=name: seen[name].append(output.dtype))
    with torch.autocast('cpu', torch.bfloat16):
        loss = net(torch.rand(1, 3, 16, 16)).float().sum()
    loss.backward()
    # Only the last output is used: nothing needs the first column's head to be recomputed.
    assert seen == {'first': [torch.bfloat16], 'last': [torch.bfloat16] * 2}


def bytes_kept(run: Callable[[], object]) -> int:
    """Bytes of the distinct storages that autograd keeps for backward."""
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    del result
    return sum(storages.values())


def test_memory_does_not_grow_with_depth_and_little_with_columns() -> None:
    def kept(reversible: bool, **options: object) -> int:
        net = DeepRFTv2(**{**SMALL, 'reversible': reversible, **options})
        weights = sum(parameter.nbytes for parameter in net.parameters())
        return bytes_kept(lambda: net(torch.rand(1, 3, 64, 64), return_all=True)) - weights

    assert kept(True) < 0.2 * kept(False)
    deep = [4, 8, 4]
    assert kept(True, num_blocks=deep) == pytest.approx(kept(True), rel=0.01)
    # One latent per column stays, and its outputs; what it hands on to the next one is made again.
    assert kept(True, num_columns=4) < 1.1 * kept(True, num_columns=2)


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**2


def test_the_verbs_on_numbers() -> None:
    """y <- y/2 + x^2, x <- x^2, output y^2 + x, computed by hand."""
    x, y = MapKey(0, MapKind.IMAGE), MapKey(2, MapKind.DECODED)

    def update(state: ColumnState) -> None:
        state.coupled_update(y, scaling, Square(), x)
        state.replace(x, Square(), x)
        state.output(Square(), y, x)

    scaling = Scaling(1).double()
    maps = {key: torch.full((1, 1, 1, 1), v, dtype=torch.float64).requires_grad_() for key, v in ((x, 3), (y, 4))}
    ((scale, output),) = run_reversible(update, maps, scaling)
    output.backward()
    assert (scale, output.item()) == (0, (4 / 2 + 9) ** 2 + 9)
    assert maps[x].grad.item() == 2 * 11 * 6 + 6
    assert maps[y].grad.item() == 2 * 11 / 2
    assert scaling.weight.grad.item() == 2 * 11 * 4


class Mix(nn.Module):
    """A function of some maps that counts how often it is computed."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(inputs))
        self.calls = 0

    def forward(self, *maps: Tensor) -> Tensor:
        self.calls += 1
        return sum(weight * torch.sin(x) for weight, x in zip(self.weights, maps, strict=True))


def random_program(seed: int, steps: int = 24) -> tuple[Callable[[ColumnState], None], nn.ModuleList]:
    """A random sequence of all verbs on four maps, with its modules; a third of the scalings are small."""
    g = random.Random(seed)
    torch.manual_seed(seed)
    modules, work = nn.ModuleList(), []
    for index in range(steps + 4):
        # All maps come out at the end.
        verb, target = ('output', KEYS[index - steps]) if index >= steps else (g.choice(VERBS), g.choice(KEYS))
        # An update that reads the map it updates could not be undone; a replacement may.
        others = KEYS if verb == 'replace' and g.random() < 0.2 else [key for key in KEYS if key != target]
        inputs = g.sample(others, 1 if verb == 'output' else g.randint(1, 2))
        function, scaling = Mix(len(inputs)), Scaling(2)
        nn.init.uniform_(scaling.weight, *((1e-3, 0.1) if g.random() < 1 / 3 else (0.5, 1)))
        modules.extend((function, scaling))
        work.append((verb, target, scaling, function, inputs))

    def update(state: ColumnState) -> None:
        for verb, target, scaling, function, inputs in work:
            if verb == 'coupled_update':
                state.coupled_update(target, scaling, function, *inputs)
            elif verb == 'replace':
                state.replace(target, function, *inputs)
            else:
                state.output(function, target, inputs[0])

    return update, modules.double()


def test_random_programs_have_the_gradients_of_autograd() -> None:
    made_again = 0
    for seed in range(250):
        update, modules = random_program(seed)
        results = []
        for reversible in (False, True):
            torch.manual_seed(seed)
            maps = {key: torch.randn(1, 2, 3, 1, dtype=torch.float64, requires_grad=True) for key in KEYS}
            if reversible:
                outputs = run_reversible(update, maps, modules)
            else:
                state = ColumnState(maps)
                update(state)
                outputs = state.outputs
            modules.zero_grad()
            sum((tensor * (index + 1)).square().sum() for index, (_, tensor) in enumerate(outputs)).backward()
            leaves = {**maps, **dict(modules.named_parameters())}
            results.append(
                {key: leaf.grad for key, leaf in leaves.items() if leaf.grad is not None and leaf.grad.any()}
            )
        assert worst_difference(*results) < 1e-10, seed
        # Plain once; reversible once forth and once back; all else is what was made again.
        made_again += sum(module.calls - 3 for module in modules if isinstance(module, Mix))
    assert made_again > 30


@pytest.mark.parametrize('again', [False, True])
def test_maps_are_freed_while_backward_undoes_them_unless_it_shall_run_again(again: bool) -> None:
    alive: list[bool] = []

    class Watch(Mix):
        def forward(self, *maps: Tensor) -> Tensor:
            if self.calls % 2:
                alive.append(final() is not None)
            return super().forward(*maps)

    def update(state: ColumnState) -> None:
        nonlocal final
        state.coupled_update(A, modules[0], modules[1], B)  # undone last, after the final value of B
        state.coupled_update(B, modules[0], modules[2], A)
        final = weakref.ref(state.maps[B])
        state.output(modules[2], A, B)

    final, modules = None, nn.ModuleList([Scaling(1), Watch(1), Mix(1)])
    maps = {key: torch.randn(1, 1, 2, 2, requires_grad=True) for key in (A, B)}
    ((_, output),) = run_reversible(update, maps, modules)
    output.sum().backward(retain_graph=again)
    assert alive == [again]
    if again:
        first = maps[A].grad.clone()
        output.sum().backward()
        assert torch.equal(maps[A].grad, 2 * first)
    with pytest.raises(RuntimeError, match='second time'):
        output.sum().backward()
