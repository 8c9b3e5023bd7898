"""Parameters and multiply-accumulates of a network, counted as the paper's tables count them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.fdikp.kernel_stack import KernelStack
from deeprftv2_arch.nn.vsblock import STATE_SIZE, SelectiveScan2d
from deeprftv2_arch.utils.contracts import returns_all_outputs
from deeprftv2_arch.utils.shapes_only import shapes_only

# Multiply-accumulates per channel, state and step of a selective scan, by the convention of the field.
SCAN_COST = 9


class Complexity(NamedTuple):
    """Cost of one forward pass.

    Attributes:
        parameters: Learned numbers.
        macs: Multiply-accumulates of convolutions, with predicted kernels too, and of linear layers; biases, norms,
            pooling and FFTs are not counted.
        projection_macs: Those of the projections inside the selective scans, which the paper's count leaves out.
        scan_macs: Those of the selective scans, likewise left out: 9 per step, channel and state.
    """

    parameters: int
    macs: int
    projection_macs: int
    scan_macs: int


def build_and_measure(build: Callable[[], nn.Module], height: int, width: int, channels: int = 3) -> Complexity:
    """Build a network and count one forward pass, without memory if the network can do without.

    Networks of others may look into their tensors, which then must have values: they are built and run for real.

    Args:
        build: Returns the network.
        height: Height of the image.
        width: Width of the image.
        channels: Channels of the image.
    """
    try:
        with shapes_only():
            network = build()
        return measure(network, height, width, channels)
    except Exception:  # whatever a network does with tensors that have no values
        return measure(build(), height, width, channels, device='cpu')


def measure(network: nn.Module, height: int, width: int, channels: int = 3, device: str = 'meta') -> Complexity:
    """Count one forward pass over a (1, channels, height, width) image, every output included.

    The network is moved to the device. On the meta device nothing is computed, and its weights are lost.
    """
    counts = dict.fromkeys(('macs', 'projection_macs', 'scan_macs'), 0)
    network = network.to(device).eval()
    inside_scans = {id(scan.x_proj) for scan in network.modules() if isinstance(scan, SelectiveScan2d)}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, SelectiveScan2d):
            steps, inner = inputs[0][:, 0].numel(), module.D.numel()
            counts['projection_macs'] += steps * inner * (module.x_proj.out_features + module.dt_proj.in_features)
            counts['scan_macs'] += SCAN_COST * steps * inner * STATE_SIZE
        elif isinstance(module, KernelStack):
            kernels = inputs[1]
            counts['macs'] += output[:, 1:].numel() * kernels[0, 0].numel()
        elif id(module) not in inside_scans:
            # Every output value is a sum over one filter.
            weight = cast(Tensor, module.weight)
            counts['macs'] += output.numel() * weight[0].numel()

    counted = (nn.Conv1d, nn.Conv2d, nn.Linear, SelectiveScan2d, KernelStack)
    handles = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, counted)]
    every_output = {'return_all': True} if returns_all_outputs(network) else {}
    with torch.no_grad():
        network(torch.zeros(1, channels, height, width, device=device), **every_output)
    for handle in handles:
        handle.remove()
    return Complexity(sum(parameter.numel() for parameter in network.parameters()), **counts)
