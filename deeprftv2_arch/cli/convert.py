"""`deeprftv2 convert`: weights between the published key names of DeepRFTv2, ATD and ATD + FKE, and ours."""

from __future__ import annotations

import os
from pathlib import Path

from deeprftv2_arch.checkpoints.convert import convert_checkpoint
from deeprftv2_arch.checkpoints.io import read_checkpoint, save_checkpoint
from deeprftv2_arch.checkpoints.published_keys import network_type, read_options, to_published
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import argument as path_argument


def main(arguments: list[str] | None = None) -> None:
    """Convert a file in the direction that its keys ask for.

    Raises:
        UserError: A file cannot be read or written, or its weights are not those of our networks.
    """
    parser = command_parser(
        'convert',
        'Convert a checkpoint of DeepRFTv2, ATD or ATD + FKE between the published key names and ours. No weight is '
        'dropped or made up: every key must have its counterpart and the right shape.',
        'net_g_latest.pth published.pth',
    )
    parser.add_argument(
        'source', metavar='IN', type=path_argument, help='checkpoint to read; its keys tell the direction'
    )
    parser.add_argument('target', metavar='OUT', type=path_argument, help='checkpoint to write; must not exist yet')
    args = parser.parse_args(arguments)
    _check_target(args.target)
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


def _check_target(target: Path) -> None:
    """Refuse a file that cannot be written, before any work is done for it."""
    if target.exists():
        raise UserError(f'{target} exists already. Name another file, or remove it first.')
    if not target.parent.is_dir():
        raise UserError(f'{target}: there is no folder {target.parent}. Make it first.')
    if not os.access(target.parent, os.W_OK):
        raise UserError(f'{target}: nothing may be written into {target.parent}. Name another folder.')
