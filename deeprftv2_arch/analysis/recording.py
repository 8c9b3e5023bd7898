"""What the Fourier kernel estimators of a network compute, recorded while it runs, without changing its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.utils.errors import UserError


@dataclass
class EstimatorRecord:
    """What one estimator computed in one forward pass, without gradients.

    Attributes:
        residuals: r_0 to r_4, (M, C, h, w // 2 + 1) each, real; M counts the images and their windows.
        kernel: The kernel's half spectrum, (M, C, h, w // 2 + 1), complex.
        before: What is convolved, (N, C, H, W).
        after: The result before it is fused, (N, C, H, W).
    """

    residuals: list[Tensor] = field(default_factory=list)
    kernel: Tensor = field(default_factory=lambda: torch.empty(0))
    before: Tensor = field(default_factory=lambda: torch.empty(0))
    after: Tensor = field(default_factory=lambda: torch.empty(0))


def estimators_of(network: nn.Module) -> dict[tuple[int, int], FourierKernelEstimator]:
    """Find the estimators of a DeepRFTv2 by column and scale; of other networks, by their order and scale 0.

    Raises:
        UserError: The network has none.
    """
    found: dict[tuple[int, int], FourierKernelEstimator] = {}
    for name, module in network.named_modules():
        if isinstance(module, FourierKernelEstimator):
            parts = name.split('.')
            in_column = len(parts) == 5 and parts[0] == 'columns' and parts[2] == 'unets'
            place = (int(parts[1]), int(parts[3])) if in_column else (len(found), 0)
            found[place] = module
    if not found:
        raise UserError(f'This {type(network).__name__} has no Fourier kernel estimators (fke: false).')
    return found


@contextmanager
def record(estimator: FourierKernelEstimator, maps: bool = True) -> Iterator[list[EstimatorRecord]]:
    """Record an estimator while the context is open.

    Nothing is recomputed: hooks read what its modules hand to each other, whether the network runs reversibly or not.
    Close the context before backward, where a reversible network runs its modules again.

    Args:
        estimator: For instance one of :func:`estimators_of`.
        maps: Whether ``before`` and ``after`` are recorded, which are as large as the image.

    Yields:
        A list that grows by one record per forward pass; with tiles, per tile.
    """
    records: list[EstimatorRecord] = []

    def first_residual(module: nn.Module, inputs: Any, output: Tensor) -> None:
        records.append(EstimatorRecord([output.detach()]))

    def residual(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A level reads the scaled sum that the level before left in its map.
        records[-1].residuals.append(inputs[0].detach())

    def last_residual(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        records[-1].residuals.append(inputs[1].detach())

    def kernel(module: nn.Module, inputs: Any, output: Tensor) -> None:
        records[-1].kernel = output.detach()

    def before(module: nn.Module, inputs: Any, output: Tensor) -> None:
        records[-1].before = output.detach()

    def after(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        records[-1].after = inputs[0].detach()

    convolution = estimator.convolution
    handles = [estimator.levels[0].entry.register_forward_hook(first_residual)]
    handles += [level.register_forward_pre_hook(residual) for level in list(estimator.levels)[1:]]
    handles.append(convolution.register_forward_pre_hook(last_residual))
    handles.append(convolution.head.register_forward_hook(kernel))
    if maps:
        handles.append(convolution.project.register_forward_hook(before))
        handles.append(convolution.fuse.register_forward_pre_hook(after))
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()
