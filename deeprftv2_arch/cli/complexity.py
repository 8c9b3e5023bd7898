"""`deeprftv2 complexity`: parameters and operations of a network, counted as the paper's tables count them."""

from __future__ import annotations

from basicsr.utils.registry import ARCH_REGISTRY

from deeprftv2_arch.analysis.complexity import build_and_measure
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.config.components import describe
from deeprftv2_arch.config.network_options import image_channels
from deeprftv2_arch.config.yaml_file import read_option_file
from deeprftv2_arch.utils.errors import UserError


def main(arguments: list[str] | None = None) -> None:
    """Build ``network_g`` of an option file and print what it costs.

    Raises:
        UserError: The file cannot be read, or names no network that can be built and run on an image of that size.
    """
    parser = command_parser(
        'complexity', 'Parameters and operations of a network.', '-opt options/train_gopro.yml --size 256 256'
    )
    parser.add_argument('-opt', required=True, help='option file; its network_g is measured')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('H', 'W'), help='image size')
    args = parser.parse_args(arguments)
    options = dict(read_option_file(args.opt).options.get('network_g') or {})
    name = options.pop('type', None)
    if name not in ARCH_REGISTRY:
        raise UserError(f'{args.opt}: network_g.type: expected the name of a registered network, got {name!r}.')
    height, width = args.size
    try:
        result = build_and_measure(lambda: ARCH_REGISTRY.get(name)(**options), height, width, image_channels(options))
    except Exception as error:  # whatever a class of others raises
        raise UserError(f'{args.opt}: network_g, {height} x {width} pixels: {describe(error)}.') from error
    print(f'{name} at {args.size[0]}x{args.size[1]}')
    print(f'  parameters                          {result.parameters:>15,d}')
    for label, value in (
        ('convolutions and linear layers', result.macs),
        ('projections inside the scans', result.projection_macs),
        ('selective scans', result.scan_macs),
    ):
        print(f'  {label:<33} {value / 1e9:>11.2f} GMACs')
