"""Reversible columns: a network as a list of updates of named maps that can be undone (paper sections 3.3.1, 3.3.2).

A column of the network never returns features. It updates maps that live in :class:`Slots`, with three verbs:

* ``couple``: ``map <- scaling * map + function(other maps)``, equations 12, 14 and 16. It can be undone without having
  kept the old map: equations 13, 15 and 17.
* ``replace``: ``map <- function(maps)``. The old map has to be kept to undo it, unless an earlier ``replace`` made it
  and can make it again in backward, as with the feature that one column hands to the next.
* ``emit``: append an output of the network; no map changes.

The same wiring runs in two ways. :class:`Slots` computes under ordinary autograd. :func:`run_reversible` computes
without autograd, keeps the last value of every map and what cannot be recomputed, and in backward undoes the updates
one by one, each recomputed once with autograd for its own gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.precision import at_least_float32, autocast_state, autocasts_to_half

# Published: every scaling keeps at least this magnitude and its sign.
SCALING_FLOOR = 1e-3
# Undoing an update divides by the scaling, and so multiplies the rounding errors of the new map and of the function's
# inputs by its inverse; the next update that is undone with the result multiplies them again. Before the product along
# such a chain can pass this bound the old map is kept, which ends the chain. Under autocast the maps are in float32,
# but what is added to them is computed from inputs rounded to half precision, where errors start much larger.
ERROR_GROWTH = {torch.float64: 1e4, torch.float32: 256.0}
ERROR_GROWTH_AUTOCAST = 16.0


class Scaling(nn.Module):
    """The learned scaling ``alpha`` of a map's old value, one per channel, kept away from zero.

    In training the parameter itself is moved to the floor before it is used, as published; in evaluation mode only the
    value in use is, so that evaluating a network never changes its weights. An exact zero stays zero.

    Args:
        channels: Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))

    def forward(self) -> Tensor:
        """The scaling in use, (1, C, 1, 1); the gradient passes through the floor unchanged."""
        with torch.no_grad():
            floored = self.weight.sign() * self.weight.abs().clamp(min=SCALING_FLOOR)
            if self.training:
                # Written through .data: the floor is idempotent, so graphs of an earlier forward stay valid.
                self.weight.data.copy_(floored)
            shift = floored - self.weight
        return self.weight + shift


def error_growths(module: nn.Module) -> dict[Scaling, float]:
    """By how much undoing an update may multiply the rounding error of the map, for every scaling of a module.

    Infinite for a scaling that is zero in a channel. All values come to the CPU in one transfer: on a GPU the program
    waits once in a forward pass and not at every update.
    """
    scalings = [part for part in module.modules() if isinstance(part, Scaling)]
    if not scalings:
        return {}
    sizes = torch.cat([scaling.weight.detach().flatten() for scaling in scalings]).abs().cpu()
    parts = sizes.split([scaling.weight.numel() for scaling in scalings])
    smallest = torch.stack([part.min() for part in parts]).tolist()
    return {scaling: 1 / size if size else math.inf for scaling, size in zip(scalings, smallest, strict=True)}


class Slots:
    """Named maps that the columns of a network update, computed with ordinary autograd.

    Args:
        maps: Maps that exist at the start. All others are absent, which counts as zero.

    Attributes:
        emitted: Outputs in order, as (label, tensor).
    """

    def __init__(self, maps: dict[str, Tensor]) -> None:
        self.maps = dict(maps)
        self.emitted: list[tuple[str, Tensor]] = []

    def __getitem__(self, name: str | None) -> Tensor | None:
        return None if name is None else self.maps[name]

    def couple(self, name: str, scaling: Scaling, function: nn.Module, *inputs: str | None) -> None:
        """``maps[name] <- scaling() * maps[name] + function(*inputs)``; an absent map counts as zero."""
        # Maps that are undone carry their rounding errors on, so they are kept in float32 under autocast too.
        update = at_least_float32(function(*(self[key] for key in inputs)))
        old = self.maps.get(name)
        if old is None:
            # Ties the scaling to the result, so that its gradient is zero and not missing.
            old = update.new_zeros(1, 1, 1, 1)
        self.maps[name] = torch.addcmul(update, scaling().to(update.dtype), old.to(update.dtype))

    def replace(self, name: str, function: nn.Module, *inputs: str) -> None:
        """``maps[name] <- function(*inputs)``."""
        self.maps[name] = function(*(self[key] for key in inputs))

    def emit(self, label: str, function: nn.Module, name: str, plus: str) -> None:
        """Append the output ``function(maps[name]) + maps[plus]``."""
        self.emitted.append((label, function(self[name]) + self[plus]))


class LastOutput(Slots):
    """Slots that compute only the last output; for evaluation, where the others are not asked for."""

    def emit(self, label: str, function: nn.Module, name: str, plus: str) -> None:
        self._last = (function, self[name], self[plus])

    def output(self) -> Tensor:
        """The last output of the program that was run."""
        function, feature, image = self._last
        return function(feature) + image


@dataclass
class _Step:
    """One recorded update, with what is needed to undo it."""

    verb: str
    function: nn.Module
    inputs: tuple[str | None, ...]
    name: str | None = None
    scaling: Scaling | None = None
    existed: bool = False
    kept: int | None = None  # where the old map is kept
    again: list[_Step] = field(default_factory=list)  # replacements to be made again before this step is undone


@dataclass
class _Replaced:
    """A map as ``replace`` has made it, which backward can make again where its inputs stand as they stood then."""

    step: _Step
    reader: _Step | None = None  # the last step that needs the map
    growth: float = 1  # what that step multiplies the map's rounding error by at most
    stale: bool = False  # an input has changed


class _Recorder(Slots):
    """Runs updates without autograd and records them."""

    def __init__(self, maps: dict[str, Tensor], growths: dict[Scaling, float]) -> None:
        super().__init__(maps)
        self.growths = growths
        self.steps: list[_Step] = []
        self.kept: list[Tensor] = []
        # Per map: what its rounding error is multiplied by at most, along the chain of updates undone with it.
        self.growth: dict[str | None, float] = {}
        self.replaced: dict[str | None, _Replaced] = {}
        first = next(iter(maps.values()))
        self.bound = ERROR_GROWTH_AUTOCAST if autocasts_to_half(first.device) else ERROR_GROWTH[first.dtype]

    def _record(self, step: _Step, growth: float) -> None:
        """Record a step whose undoing multiplies errors by ``growth``, and keep the old map where that is too much."""
        old = self.maps.get(step.name)
        step.existed = old is not None
        before = self.replaced.pop(step.name, None)
        chain = growth * self._change(step.name, growth) if step.existed else 1
        if chain > self.bound:
            chain = 1
            if step.verb == 'replace' and before is not None and before.reader and step.name not in step.inputs:
                before.reader.again.append(before.step)
            else:
                step.kept = len(self.kept)
                self.kept.append(old)
        self.growth[step.name] = chain
        for name in step.inputs:
            self.growth[name] = max(chain, self.growth.get(name, 1))
            self._read(name, step)
        self.steps.append(step)

    def _change(self, name: str | None, growth: float) -> float:
        """Note that a map is about to change, and return its own growth with that of what will be made again of it."""
        total = self.growth.get(name, 1)
        for key, replaced in list(self.replaced.items()):
            if name in replaced.step.inputs:
                replaced.stale = True
                if growth * total <= self.bound < growth * replaced.growth:
                    del self.replaced[key]  # else this map would have to be kept for it
                else:
                    total = max(total, replaced.growth)
        return total

    def _read(self, name: str | None, step: _Step) -> None:
        """Note that a step needs a map; it can be made again for it only while its inputs are the same."""
        replaced = self.replaced.get(name)
        if replaced is None:
            return
        if replaced.stale:
            del self.replaced[name]
        else:
            replaced.reader, replaced.growth = step, self.growth.get(name, 1)

    def couple(self, name: str, scaling: Scaling, function: nn.Module, *inputs: str | None) -> None:
        self._record(_Step('couple', function, inputs, name, scaling), self.growths[scaling])
        super().couple(name, scaling, function, *inputs)

    def replace(self, name: str, function: nn.Module, *inputs: str) -> None:
        step = _Step('replace', function, inputs, name)
        self._record(step, math.inf)
        if name not in inputs and self.replaced.keys().isdisjoint(inputs):
            self.replaced[name] = _Replaced(step)
        super().replace(name, function, *inputs)

    def emit(self, label: str, function: nn.Module, name: str, plus: str) -> None:
        self.steps.append(_Step('emit', function, (name, plus)))
        self._read(name, self.steps[-1])
        super().emit(label, function, name, plus)


@dataclass
class _Gradients:
    """Gradients of the maps as they stand, and of the parameters so far."""

    maps: dict[str, Tensor] = field(default_factory=dict)
    parameters: dict[int, Tensor] = field(default_factory=dict)

    def add_map(self, name: str, gradient: Tensor | None) -> None:
        if gradient is not None:
            self.maps[name] = self.maps[name] + gradient if name in self.maps else gradient

    def add_parameter(self, parameter: Tensor, gradient: Tensor | None) -> None:
        if gradient is not None:
            known = self.parameters.get(id(parameter))
            self.parameters[id(parameter)] = gradient if known is None else known + gradient


class _Rewinder:
    """Undoes recorded steps from the last to the first and collects their gradients.

    Args:
        maps: The maps after the last step; updated in place.
        kept: The old maps that were kept.
        constants: Maps that need no gradient.
        autocast: Context factory that restores the precision of the forward pass.
    """

    def __init__(
        self, maps: dict[str, Tensor], kept: Sequence[Tensor], constants: set[str], autocast: Callable
    ) -> None:
        self.maps, self.kept, self.constants, self.autocast = maps, kept, constants, autocast
        self.gradients = _Gradients()

    def rewind(self, step: _Step, emitted_gradient: Tensor | None) -> None:
        for replacement in step.again:
            with torch.no_grad(), self.autocast():
                inputs = (self.maps[name] for name in replacement.inputs)
                self.maps[replacement.name] = replacement.function(*inputs)
        if step.verb == 'emit':
            if emitted_gradient is not None:
                name, plus = step.inputs
                self._backward(step, (name,), emitted_gradient)
                if plus not in self.constants:
                    self.gradients.add_map(plus, emitted_gradient)
            return
        gradient = self.gradients.maps.pop(step.name, None)
        new = self.maps.pop(step.name)
        if step.kept is not None:
            self.maps[step.name] = self.kept[step.kept]
        update = self._backward(step, step.inputs, gradient)
        if step.verb != 'couple':
            return
        with torch.no_grad():
            scaling = step.scaling().to(new.dtype)
            if step.existed and step.kept is None:
                self.maps[step.name] = (new - update) / scaling
            if step.existed and gradient is not None:
                old = self.maps[step.name]
                self.gradients.add_parameter(step.scaling.weight, (gradient * old).sum((0, 2, 3), keepdim=True))
                self.gradients.add_map(step.name, gradient * scaling)

    def _backward(self, step: _Step, inputs: Sequence[str | None], gradient: Tensor | None) -> Tensor:
        """Recompute the step's function, add the gradients of its inputs and parameters, and return its value."""
        leaves = [
            None if name is None else self.maps[name].detach().requires_grad_(name not in self.constants)
            for name in inputs
        ]
        with torch.set_grad_enabled(gradient is not None), self.autocast():
            value = step.function(*leaves)
        if gradient is not None:
            names = [name for name, leaf in zip(inputs, leaves, strict=True) if leaf is not None and leaf.requires_grad]
            sources = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
            parameters = [parameter for parameter in step.function.parameters() if parameter.requires_grad]
            found = ()
            if sources or parameters:
                found = torch.autograd.grad(value, sources + parameters, gradient.to(value.dtype), allow_unused=True)
            for name, part in zip(names, found[: len(names)], strict=True):
                self.gradients.add_map(name, part)
            for parameter, part in zip(parameters, found[len(names) :], strict=True):
                self.gradients.add_parameter(parameter, part)
        return value.detach()


class _Reversible(torch.autograd.Function):
    """All columns as one function of the input maps and the parameters."""

    @staticmethod
    def forward(ctx, program, labels, names, growths, parameters, *tensors):
        ctx.set_materialize_grads(False)  # an output that nobody used costs nothing in backward
        recorder = _Recorder(dict(zip(names, tensors[: len(names)], strict=True)), growths)
        ctx.autocast = autocast_state(tensors[0].device)
        with ctx.autocast():
            program(recorder)
        labels.extend(label for label, _ in recorder.emitted)
        ctx.names, ctx.parameters, ctx.steps = names, parameters, recorder.steps
        ctx.map_names = list(recorder.maps)
        # The parameters are saved only so that autograd notices when one is changed before backward.
        ctx.save_for_backward(*recorder.maps.values(), *recorder.kept, *parameters)
        return tuple(tensor for _, tensor in recorder.emitted)

    @staticmethod
    @once_differentiable
    def backward(ctx, *emitted_gradients):
        saved = list(ctx.saved_tensors)
        # Unless backward shall run again, each map is freed as soon as it is undone.
        ctx.maybe_clear_saved_tensors()
        maps = {name: saved.pop(0) for name in ctx.map_names}
        wanted = ctx.needs_input_grad[5 : 5 + len(ctx.names)]
        constants = {name for name, want in zip(ctx.names, wanted, strict=True) if not want}
        rewinder = _Rewinder(maps, saved, constants, ctx.autocast)
        pending = list(emitted_gradients)
        for step in reversed(ctx.steps):
            rewinder.rewind(step, pending.pop() if step.verb == 'emit' else None)
        gradients = rewinder.gradients
        input_gradients = [gradients.maps.get(name) for name in ctx.names]
        parameter_gradients = [
            # Zero and not missing: every parameter of the program is marked as used.
            gradients.parameters.get(id(parameter), torch.zeros_like(parameter)) if parameter.requires_grad else None
            for parameter in ctx.parameters
        ]
        return None, None, None, None, None, *input_gradients, *parameter_gradients


# What is undone in backward cannot be traced. Functions inside that are compiled run compiled.
@torch.compiler.disable
def run_reversible(
    program: Callable[[Slots], None], maps: dict[str, Tensor], module: nn.Module
) -> list[tuple[str, Tensor]]:
    """Run the wiring of a network with memory that does not grow with the depth of its columns.

    Args:
        program: Calls the verbs of the slots it is given; called once, without autograd.
        maps: The maps that exist at the start, for instance the image at every scale.
        module: Holds all modules that the program uses. Parameters that a forward pass does not touch receive a
            gradient of zero.

    Returns:
        What the program emits, as (label, tensor), with gradients to the maps and the parameters. Second derivatives
        are not supported.
    """
    labels: list[str] = []
    parameters = tuple(module.parameters())
    settings = (program, labels, list(maps), error_growths(module), parameters)
    outputs = _Reversible.apply(*settings, *maps.values(), *parameters)
    return list(zip(labels, outputs, strict=True))
