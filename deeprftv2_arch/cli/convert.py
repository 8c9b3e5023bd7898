"""`deeprftv2 convert`: weights between the published key names and ours, and into one file with their options."""

from __future__ import annotations

import os
from pathlib import Path

from deeprftv2_arch.checkpoints.convert import convert_checkpoint
from deeprftv2_arch.checkpoints.io import read_checkpoint, save_checkpoint
from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.checkpoints.published_keys import network_type, read_options, to_published
from deeprftv2_arch.checkpoints.recognition import read_network
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import argument as path_argument


def main(arguments: list[str] | None = None) -> None:
    """Convert a file in the direction that its keys ask for, or pack it.

    Raises:
        UserError: A file cannot be read or written, or its weights are not those of our networks.
    """
    parser = command_parser(
        'convert',
        'Convert a checkpoint of DeepRFTv2, ATD or ATD + FKE between the published key names and ours. No weight is '
        'dropped or made up: every key must have its counterpart and the right shape.',
        'net_g_latest.pth published.pth',
        '--pack net_g_best.pth photos.safetensors',
    )
    parser.add_argument(
        'source', metavar='IN', type=path_argument, help='checkpoint to read; its keys tell the direction'
    )
    parser.add_argument('target', metavar='OUT', type=path_argument, help='checkpoint to write; must not exist yet')
    parser.add_argument(
        '--pack',
        action='store_true',
        help='write the network as `deeprftv2 restore` reads it best: OUT.safetensors with the averaged weights, if '
        'there are any, under our names and the options of the network inside',
    )
    parser.add_argument('--float32', action='store_true', help='with --pack: keep float32 (default: float16)')
    args = parser.parse_args(arguments)
    if args.float32 and not args.pack:
        raise UserError('--float32 goes with --pack: other conversions keep the type of the weights. Leave it out.')
    _check_target(args.target)
    if args.pack:
        _pack(args.source, args.target, half=not args.float32)
        return
    groups, names, left_out = convert_checkpoint(read_checkpoint(args.source))
    save_checkpoint(groups, args.target)
    counts = ', '.join(f'{len(weights)} tensors under {name!r}' for name, weights in groups.items())
    print(f'Wrote {args.target} with {"our" if names == "ours" else "the published"} names: {counts}.')
    if left_out:
        print(f'Left out, being no weights of these networks: {", ".join(left_out)}.')
    if names == 'ours':
        published = to_published(next(iter(groups.values())))
        options = {'type': network_type(published)} | read_options(published)
        print('network_g:\n' + ''.join(f'  {key}: {value}\n' for key, value in options.items()))


def _pack(source: Path, target: Path, half: bool) -> None:
    """Write the weights of a checkpoint and the options of its network into one file."""
    network = read_network(source)
    if network is None:
        raise UserError(
            f'{source}: nothing tells which network these weights belong to. Put the resolved_options.yml of its '
            'training into the same folder.'
        )
    save_network_file(target, network.type, network.options, network.weights, half)
    count = sum(weight.numel() for weight in network.weights.values())
    size = target.stat().st_size / 1e6
    print(f'Wrote {target}: {network.type}, {count:,} weights in float{16 if half else 32}, {size:.2f} MB.')


def _check_target(target: Path) -> None:
    """Refuse a file that cannot be written, before any work is done for it."""
    if target.exists():
        raise UserError(f'{target} exists already. Name another file, or remove it first.')
    if not target.parent.is_dir():
        raise UserError(f'{target}: there is no folder {target.parent}. Make it first.')
    if not os.access(target.parent, os.W_OK):
        raise UserError(f'{target}: nothing may be written into {target.parent}. Name another folder.')
