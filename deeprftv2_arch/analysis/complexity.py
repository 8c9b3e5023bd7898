"""Parameters and multiply-accumulates of a network, counted as the paper's tables count them.

python -m deeprftv2_arch.analysis.complexity -opt options/train_gopro.yml --size 256 256
"""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import NamedTuple

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.console import exit_code
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.nn.fdikp.kernel_stack import KernelStack
from deeprftv2_arch.nn.vsblock import STATE_SIZE, SelectiveScan2d
from deeprftv2_arch.options.yaml_file import read_option_file

# Multiply-accumulates per channel, state and step of a selective scan, by the convention of the field.
SCAN_COST = 9


class Complexity(NamedTuple):
    """What one forward pass costs.

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


def measure(network: nn.Module, height: int, width: int, channels: int = 3) -> Complexity:
    """Count one forward pass over a (1, channels, height, width) image, every output included.

    The network is moved to the meta device: nothing is computed, and its weights are lost.
    """
    counts = dict.fromkeys(('macs', 'projection_macs', 'scan_macs'), 0)
    network = network.to('meta').eval()
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
            counts['macs'] += output.numel() * module.weight[0].numel()

    counted = (nn.Conv1d, nn.Conv2d, nn.Linear, SelectiveScan2d, KernelStack)
    handles = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, counted)]
    every_output = {'return_all': True} if 'return_all' in inspect.signature(network.forward).parameters else {}
    with torch.no_grad():
        network(torch.empty(1, channels, height, width, device='meta'), **every_output)
    for handle in handles:
        handle.remove()
    return Complexity(sum(parameter.numel() for parameter in network.parameters()), **counts)


def main(arguments: list[str] | None = None) -> None:
    """Command line: build ``network_g`` of an option file and print what it costs.

    Raises:
        UserError: The file cannot be read, or names no network that can be built.
    """
    parser = argparse.ArgumentParser(
        prog='python -m deeprftv2_arch.analysis.complexity', description='Parameters and operations of a network.'
    )
    parser.add_argument('-opt', required=True, help='option file; its network_g is measured')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('H', 'W'), help='image size')
    args = parser.parse_args(arguments)
    options = dict(read_option_file(args.opt).options.get('network_g') or {})
    name = options.pop('type', None)
    if name not in ARCH_REGISTRY:
        raise UserError(f'{args.opt}: network_g.type: expected the name of a registered network, got {name!r}.')
    try:
        with torch.device('meta'):
            network = ARCH_REGISTRY.get(name)(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f'{args.opt}: network_g: {error}.') from error
    result = measure(network, *args.size)
    print(f'{name} at {args.size[0]}x{args.size[1]}')
    print(f'  parameters                          {result.parameters:>15,d}')
    for label, value in (
        ('convolutions and linear layers', result.macs),
        ('projections inside the scans', result.projection_macs),
        ('selective scans', result.scan_macs),
    ):
        print(f'  {label:<33} {value / 1e9:>11.2f} GMACs')


if __name__ == '__main__':
    sys.exit(exit_code(main))
