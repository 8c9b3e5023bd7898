"""Weights between the published key names of DeepRFTv2, ATD and ATD + FKE, and ours.

    python -m deeprftv2_arch.convert IN OUT

reads a checkpoint, tells by its keys which names it has, and writes it with the other ones. Nothing is dropped or made
up: every key must have its counterpart and the right shape.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from deeprftv2_arch.checkpoint import read_checkpoint, save_checkpoint
from deeprftv2_arch.console import exit_code
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.published_keys import (
    from_published,
    is_published,
    network_type,
    read_options,
    to_published,
)

__all__ = ['convert_checkpoint', 'from_published', 'is_published', 'network_type', 'read_options', 'to_published']


def convert_checkpoint(content: Mapping[str, Any]) -> tuple[dict[str, dict[str, Tensor]], str]:
    """Convert everything in a checkpoint.

    Args:
        content: ``{'params': weights}``, also with ``params_ema`` or ``state_dict`` as keys, or the weights themselves.
            A leading ``module.`` of the keys, left by data-parallel training, is removed.

    Returns:
        The weights under the same keys (``params`` where there was none), and ``'ours'`` or ``'published'``, the names
        they have now.

    Raises:
        UserError: The content is no weights of these networks.
    """
    nested = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    groups = {
        name: {key.removeprefix('module.'): tensor for key, tensor in weights.items()}
        for name, weights in (nested or {'params': content}).items()
    }
    if all(is_published(weights) for weights in groups.values()):
        return {name: from_published(weights) for name, weights in groups.items()}, 'ours'
    return {name: to_published(weights) for name, weights in groups.items()}, 'published'


def main(arguments: list[str] | None = None) -> None:
    """Command line: convert a file in the direction that its keys ask for.

    Raises:
        UserError: A file cannot be read or written, or its weights are not those of our networks.
    """
    parser = argparse.ArgumentParser(
        prog='python -m deeprftv2_arch.convert',
        description='Convert a checkpoint of DeepRFTv2, ATD or ATD + FKE between the published key names and ours.',
    )
    parser.add_argument('source', metavar='IN', help='checkpoint to read; its keys tell the direction')
    parser.add_argument('target', metavar='OUT', help='checkpoint to write; must not exist yet')
    args = parser.parse_args(arguments)
    if Path(args.target).exists():
        raise UserError(f'{args.target} exists already. Name another file, or remove it first.')
    groups, names = convert_checkpoint(read_checkpoint(args.source))
    save_checkpoint(groups, args.target)
    counts = ', '.join(f'{len(weights)} tensors under {name!r}' for name, weights in groups.items())
    print(f'Wrote {args.target} with {"our" if names == "ours" else "the published"} names: {counts}.')
    if names == 'ours':
        published = to_published(next(iter(groups.values())))
        options = {'type': network_type(published)} | read_options(published)
        print('network_g:\n' + ''.join(f'  {key}: {value}\n' for key, value in options.items()))


if __name__ == '__main__':
    sys.exit(exit_code(main))
