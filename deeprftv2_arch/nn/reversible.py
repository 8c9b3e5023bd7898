"""Reversible columns: updates of maps that backward undoes one by one (paper equations 13, 15 and 17).

:func:`run_reversible` runs what :class:`ColumnState` runs, but without autograd: it keeps the last value of every map
and what cannot be recomputed. Backward inverts the recorded updates from the last to the first, each recomputed once
with autograd for its own gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.column_state import ColumnState, MapKey, ScaleOutput, Scaling
from deeprftv2_arch.nn.precision import autocast_state, autocasts_to_half

# Undoing an update divides by the scaling, and so multiplies the rounding errors of the new map and of the function's
# inputs by its inverse; the next update that is undone with the result multiplies them again. Before the product along
# such a chain can pass this bound the old map is kept, which ends the chain. Under autocast the maps are in float32,
# but what is added to them is computed from inputs rounded to half precision, where errors start much larger.
ERROR_GROWTH = {torch.float64: 1e4, torch.float32: 256.0}
ERROR_GROWTH_AUTOCAST = 16.0


def error_growths(module: nn.Module) -> dict[Scaling, float]:
    """Bound how much undoing an update may multiply the rounding error of the map, for every scaling of a module.

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


@dataclass
class _Output:
    """A recorded output: ``function(maps[key]) + maps[image]``, without the image for None. No map changes."""

    function: nn.Module
    key: MapKey
    image: MapKey | None
    remakes: list[_Replacement] = field(default_factory=list)  # to be made again before this step is undone


@dataclass
class _Update:
    """A recorded update of a map, with what is needed to undo it."""

    function: nn.Module
    key: MapKey
    inputs: tuple[MapKey | None, ...]
    existed: bool  # whether there was an old map
    kept: int | None = None  # where the old map is kept
    remakes: list[_Replacement] = field(default_factory=list)


@dataclass
class _Replacement(_Update):
    """``maps[key] <- function(*inputs)``."""


@dataclass
class _CoupledUpdate(_Update):
    """``maps[key] <- scaling() * maps[key] + function(*inputs)``."""

    scaling: Scaling = field(kw_only=True)


_Step = _Output | _Update


@dataclass
class _Remakeable:
    """A map made by a replacement, which backward can make again where its inputs stand as they stood then."""

    replacement: _Replacement
    reader: _Step | None = None  # the last step that needs the map
    growth: float = 1  # what that step multiplies the map's rounding error by at most
    stale: bool = False  # an input has changed


class _Recorder(ColumnState):
    """Runs updates without autograd and records them.

    Args:
        maps: Maps that exist at the start.
        growths: What undoing an update multiplies errors by, see :func:`error_growths`.
    """

    def __init__(self, maps: Mapping[MapKey, Tensor], growths: Mapping[Scaling, float]) -> None:
        super().__init__(maps)
        self.growths = growths
        self.steps: list[_Step] = []
        self.kept: list[Tensor] = []
        # Per map: what its rounding error is multiplied by at most, along the chain of updates undone with it.
        self.growth: dict[MapKey, float] = {}
        self.remakeable: dict[MapKey, _Remakeable] = {}
        first = next(iter(maps.values()))
        self.bound = ERROR_GROWTH_AUTOCAST if autocasts_to_half(first.device) else ERROR_GROWTH[first.dtype]

    def coupled_update(self, key: MapKey, scaling: Scaling, function: nn.Module, *inputs: MapKey | None) -> None:
        """Record the update, then compute it."""
        step = _CoupledUpdate(function, key, inputs, key in self.maps, scaling=scaling)
        self._record(step, self.growths[scaling])
        super().coupled_update(key, scaling, function, *inputs)

    def replace(self, key: MapKey, function: nn.Module, *inputs: MapKey) -> None:
        """Record the replacement, then compute it."""
        step = _Replacement(function, key, inputs, key in self.maps)
        self._record(step, math.inf)
        if key not in inputs and self.remakeable.keys().isdisjoint(inputs):
            self.remakeable[key] = _Remakeable(step)
        super().replace(key, function, *inputs)

    def output(self, function: nn.Module, key: MapKey, image: MapKey | None) -> None:
        """Record the output, then compute it."""
        step = _Output(function, key, image)
        self.steps.append(step)
        self._note_read(key, step)
        super().output(function, key, image)

    def _record(self, step: _Update, growth: float) -> None:
        """Record a step whose undoing multiplies errors by ``growth``, and keep the old map where that is too much."""
        before = self.remakeable.pop(step.key, None)
        chain = growth * self._chain_growth(step.key, growth) if step.existed else 1
        if chain > self.bound:
            chain = 1
            self._keep_old(step, before)
        self.growth[step.key] = chain
        for key in step.inputs:
            if key is not None:
                self.growth[key] = max(chain, self.growth.get(key, 1))
                self._note_read(key, step)
        self.steps.append(step)

    def _keep_old(self, step: _Update, before: _Remakeable | None) -> None:
        """Keep the old map of a step, or have it made again where its last reader is undone."""
        replaces = isinstance(step, _Replacement) and step.key not in step.inputs
        if replaces and before is not None and before.reader is not None:
            before.reader.remakes.append(before.replacement)
        else:
            step.kept = len(self.kept)
            self.kept.append(self.maps[step.key])

    def _chain_growth(self, key: MapKey, growth: float) -> float:
        """Note that a map is about to change, and return its own growth with that of what will be made again of it."""
        total = self.growth.get(key, 1)
        for made, remakeable in list(self.remakeable.items()):
            if key not in remakeable.replacement.inputs:
                continue
            remakeable.stale = True
            if growth * total <= self.bound < growth * remakeable.growth:
                del self.remakeable[made]  # else this map would have to be kept for it
            else:
                total = max(total, remakeable.growth)
        return total

    def _note_read(self, key: MapKey, step: _Step) -> None:
        """Note that a step needs a map; it can be made again for it only while its inputs are the same."""
        remakeable = self.remakeable.get(key)
        if remakeable is None:
            return
        if remakeable.stale:
            del self.remakeable[key]
        else:
            remakeable.reader, remakeable.growth = step, self.growth.get(key, 1)


@dataclass
class _Gradients:
    """Gradients of the maps as they stand, and of the parameters so far."""

    maps: dict[MapKey, Tensor] = field(default_factory=dict)
    parameters: dict[int, Tensor] = field(default_factory=dict)

    def add_map(self, key: MapKey, gradient: Tensor | None) -> None:
        if gradient is not None:
            self.maps[key] = self.maps[key] + gradient if key in self.maps else gradient

    def add_parameter(self, parameter: Tensor, gradient: Tensor | None) -> None:
        if gradient is not None:
            known = self.parameters.get(id(parameter))
            self.parameters[id(parameter)] = gradient if known is None else known + gradient


class _Inverter:
    """Inverts recorded steps from the last to the first and collects their gradients.

    Args:
        maps: The maps after the last step; updated in place.
        kept: The old maps that were kept.
        constants: Maps that need no gradient.
        autocast: Context factory that restores the precision of the forward pass.
    """

    def __init__(
        self,
        maps: dict[MapKey, Tensor],
        kept: Sequence[Tensor],
        constants: set[MapKey],
        autocast: Callable[[], AbstractContextManager],
    ) -> None:
        self.maps, self.kept, self.constants, self.autocast = maps, kept, constants, autocast
        self.gradients = _Gradients()

    def invert_output(self, step: _Output, gradient: Tensor | None) -> None:
        """Take in the gradient of an output; None if nobody used it."""
        self._remake(step.remakes)
        if gradient is None:
            return
        self._recompute(step.function, (step.key,), gradient)
        if step.image is not None and step.image not in self.constants:
            self.gradients.add_map(step.image, gradient)

    def invert_update(self, step: _Update) -> None:
        """Bring the old map back, and pass the gradient of the new one on."""
        self._remake(step.remakes)
        gradient = self.gradients.maps.pop(step.key, None)
        new = self.maps.pop(step.key)
        if step.kept is not None:
            self.maps[step.key] = self.kept[step.kept]
        update = self._recompute(step.function, step.inputs, gradient)
        if isinstance(step, _CoupledUpdate) and step.existed:
            self._invert_coupling(step, new, update, gradient)

    @torch.no_grad()
    def _invert_coupling(self, step: _CoupledUpdate, new: Tensor, update: Tensor, gradient: Tensor | None) -> None:
        """``old = (new - update) / scaling``, and the gradients of the old map and of the scaling."""
        scaling = step.scaling().to(new.dtype)
        if step.kept is None:
            self.maps[step.key] = (new - update) / scaling
        if gradient is not None:
            old = self.maps[step.key]
            self.gradients.add_parameter(step.scaling.weight, (gradient * old).sum((0, 2, 3), keepdim=True))
            self.gradients.add_map(step.key, gradient * scaling)

    def _remake(self, replacements: list[_Replacement]) -> None:
        """Make maps again that later replacements have replaced."""
        for step in replacements:
            with torch.no_grad(), self.autocast():
                self.maps[step.key] = step.function(*(self.maps[key] for key in step.inputs if key is not None))

    def _recompute(self, function: nn.Module, inputs: Sequence[MapKey | None], gradient: Tensor | None) -> Tensor:
        """Compute a step's function again, add the gradients of its inputs and parameters, and return its value."""
        leaves = [None if key is None else self._leaf(key) for key in inputs]
        with torch.set_grad_enabled(gradient is not None), self.autocast():
            value = function(*leaves)
        if gradient is not None:
            self._add_gradients(function, inputs, leaves, value, gradient.to(value.dtype))
        return value.detach()

    def _leaf(self, key: MapKey) -> Tensor:
        return self.maps[key].detach().requires_grad_(key not in self.constants)

    def _add_gradients(
        self,
        function: nn.Module,
        inputs: Sequence[MapKey | None],
        leaves: Sequence[Tensor | None],
        value: Tensor,
        gradient: Tensor,
    ) -> None:
        """Add the gradients of what a value was computed from."""
        keys, sources = [], []
        for key, leaf in zip(inputs, leaves, strict=True):
            if key is not None and leaf is not None and leaf.requires_grad:
                keys.append(key)
                sources.append(leaf)
        parameters = [parameter for parameter in function.parameters() if parameter.requires_grad]
        if not sources and not parameters:
            return
        found = torch.autograd.grad(value, [*sources, *parameters], gradient, allow_unused=True)
        for key, part in zip(keys, found[: len(keys)], strict=True):
            self.gradients.add_map(key, part)
        for parameter, part in zip(parameters, found[len(keys) :], strict=True):
            self.gradients.add_parameter(parameter, part)


@dataclass(frozen=True)
class _Program:
    """What is run: the updates, the keys of the maps that come in, the growth of errors, the parameters."""

    update: Callable[[ColumnState], None]
    keys: tuple[MapKey, ...]
    growths: Mapping[Scaling, float]
    parameters: tuple[nn.Parameter, ...]
    scales: list[int]  # of the outputs, filled in the forward pass


class _Reversible(torch.autograd.Function):
    """All columns as one function of the input maps and the parameters."""

    @staticmethod
    def forward(ctx: Any, program: _Program, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs; tensors are the input maps, then the parameters."""
        ctx.set_materialize_grads(False)  # an output that nobody used costs nothing in backward
        maps = dict(zip(program.keys, tensors[: len(program.keys)], strict=True))
        recorder = _Recorder(maps, program.growths)
        ctx.autocast = autocast_state(tensors[0].device)
        with ctx.autocast():
            program.update(recorder)
        program.scales.extend(output.scale for output in recorder.outputs)
        ctx.program, ctx.steps, ctx.map_keys = program, recorder.steps, list(recorder.maps)
        # The parameters are saved only so that autograd notices when one is changed before backward.
        ctx.save_for_backward(*recorder.maps.values(), *recorder.kept, *program.parameters)
        return tuple(output.image for output in recorder.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the input maps and of the parameters."""
        saved = list(ctx.saved_tensors)
        # Unless backward shall run again, each map is freed as soon as it is undone.
        ctx.maybe_clear_saved_tensors()
        maps = {key: saved.pop(0) for key in ctx.map_keys}
        keys = ctx.program.keys
        wanted = ctx.needs_input_grad[1 : 1 + len(keys)]
        constants = {key for key, want in zip(keys, wanted, strict=True) if not want}
        inverter = _Inverter(maps, saved, constants, ctx.autocast)
        pending = list(output_gradients)
        for step in reversed(ctx.steps):
            if isinstance(step, _Output):
                inverter.invert_output(step, pending.pop())
            else:
                inverter.invert_update(step)
        gradients = inverter.gradients
        parameter_gradients = [
            # Zero and not missing: every parameter of the program is marked as used.
            gradients.parameters.get(id(parameter), torch.zeros_like(parameter)) if parameter.requires_grad else None
            for parameter in ctx.program.parameters
        ]
        return None, *(gradients.maps.get(key) for key in keys), *parameter_gradients


# What is undone in backward cannot be traced. Functions inside that are compiled run compiled.
@torch.compiler.disable
def run_reversible(
    update: Callable[[ColumnState], None], maps: Mapping[MapKey, Tensor], module: nn.Module
) -> list[ScaleOutput]:
    """Run the columns of a network with memory that does not grow with their depth.

    Args:
        update: Calls the verbs of the state it is given; called once, without autograd.
        maps: The maps that exist at the start: the image at every scale.
        module: Holds all modules that ``update`` uses. Parameters that a forward pass does not touch receive a
            gradient of zero.

    Returns:
        The outputs in order, with gradients to the maps and the parameters. Second derivatives are not supported.
    """
    parameters = tuple(module.parameters())
    program = _Program(update, tuple(maps), error_growths(module), parameters, [])
    images = _Reversible.apply(program, *maps.values(), *parameters)
    return [ScaleOutput(scale, image) for scale, image in zip(program.scales, images, strict=True)]
