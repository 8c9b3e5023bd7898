"""The checkpoint that a training goes on from, and the checks that it is the same training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deeprftv2_arch.checkpoints.io import read_checkpoint
from deeprftv2_arch.config.components import dataset_section
from deeprftv2_arch.config.options import Options, fields, unchanging
from deeprftv2_arch.config.schema import DeblurTrainOptions, RunOptions
from deeprftv2_arch.config.stages import read_stages
from deeprftv2_arch.utils.errors import UserError

_NEEDED = {'epoch', 'iter', 'optimizers', 'schedulers'}


def training_fingerprint(options: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the options that make a training what it is, as plain values for a checkpoint.

    Args:
        options: All options of a training, as BasicSR has parsed them.
    """
    train, data = options['train'], (options.get('datasets') or {}).get('train') or {}
    top = {
        name: part for name, part in options.items() if name in ('model_type', 'scale') or name.startswith('network_')
    }
    written = unchanging(dataset_section(data.get('type')), data)
    written.pop('phase', None)  # BasicSR's
    parts = {
        **unchanging(RunOptions, top),
        'train': unchanging(DeblurTrainOptions, train),
        'datasets': {'train': written},
    }
    record = {key: value for key, value in _flat(parts) if value is not None}
    scheduler = train.get('scheduler') or {}
    if scheduler.get('type', 'CosineAnnealingLR') == 'CosineAnnealingLR':
        record['train.scheduler.T_max'] = scheduler.get('T_max', train['total_iter'])
    stages = read_stages(options)
    if train.get('stages') is None:
        record['total batch (processes x batch_size_per_gpu x accumulate)'] = stages[0].total_batch
    else:
        # The end of the last stage may be moved; what was trained may not.
        record['train.stages'] = [[stage.first, *(stage.gt_size or ()), stage.total_batch] for stage in stages]
    return record


def load_state(path: str | Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state of a training and check that the training of these options can go on from it.

    Raises:
        UserError: If the file or the weights that belong to it cannot be read, or were made by another training.
    """
    path, state = Path(path), read_checkpoint(path)
    if not state.keys() >= _NEEDED:
        raise UserError(f'{path} is not the state of a training: it lacks {", ".join(sorted(_NEEDED - state.keys()))}.')
    if path.stem.isdigit() and state['iter'] != int(path.stem):
        raise UserError(f'{path} is the state after iteration {state["iter"]}: the file was renamed.')
    if path.parent.resolve() != Path(options['path']['training_states']).resolve():
        raise UserError(
            f'path.resume_state: {path} is of another experiment; those of this one are in '
            f'{options["path"]["training_states"]}. Take the name of that experiment; or begin anew from its weights, '
            'with path.pretrain_network_g.'
        )
    for weights in _weights(state['iter'], options):
        read_checkpoint(weights)
    if 'options' in state:
        _check_unchanged(path, state['options'], options)
    return state


def newest_state(options: Mapping[str, Any]) -> tuple[Path, dict[str, Any]] | None:
    """Find the newest state that the training can go on from; newer ones that it cannot are skipped with a warning.

    Returns:
        Its file and its content, or None if the experiment has no state at all.

    Raises:
        UserError: If there are states, and none of them will do.
    """
    folder = Path(options['path']['training_states'])
    states = [path for path in folder.glob('*.state') if path.stem.isdigit()]
    states.sort(key=lambda path: int(path.stem), reverse=True)
    problems: list[UserError] = []
    for path in states:
        try:
            state = load_state(path, options)
        except UserError as error:
            problems.append(error)
            continue
        if options.get('rank', 0) == 0:
            for problem in problems:
                print(f'Warning: a newer checkpoint than {path.name} is skipped. {problem}', file=sys.stderr)
        return path, state
    if problems:
        others = f' The other {len(problems) - 1} cannot be used either.' if len(problems) > 1 else ''
        raise UserError(f'{problems[0]}{others} To start anew, leave out --auto_resume.')
    return None


def check_length(state: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse a training that would be over before it begins.

    Raises:
        UserError: Naming the key.
    """
    total = int(options['train']['total_iter'])
    if state['iter'] > total:
        raise UserError(
            f'train.total_iter: {total} is less than the {state["iter"]} iterations of the checkpoint. Raise it, or '
            'resume an earlier one with path.resume_state.'
        )


def check_data(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Refuse training data other than those that a training began with.

    Raises:
        UserError: If their number or their names changed.
    """
    if before is None or before == now:
        return
    names = ' of other names' if before['images'] == now['images'] else ''
    raise UserError(
        f'datasets.train: the training began with {before["images"]} images, and now there are {now["images"]}{names}. '
        'Restore the data, or start a new training.'
    )


def _weights(iteration: int, options: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that BasicSR loads with a state."""
    ignored = options['path'].get('ignore_resume_networks') or ()
    for name in options:
        if name.startswith('network_') and name not in ignored:
            yield Path(options['path']['models'], f'net_{name.removeprefix("network_")}_{iteration}.pth')


def _check_unchanged(path: Path, before: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    data = (options.get('datasets') or {}).get('train') or {}
    defaults = _defaults('train', DeblurTrainOptions) | _defaults('datasets.train', dataset_section(data.get('type')))
    before, now = {**defaults, **before}, {**defaults, **training_fingerprint(options)}
    names = {}
    if 'T_max' not in (options['train'].get('scheduler') or {}):
        names['train.scheduler.T_max'] = 'train.total_iter (which train.scheduler.T_max follows)'
    changes = []
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            name = names.get(key, key)
            changes.append(f'{name}: {now.get(key, "absent")} instead of {before.get(key, "absent")}')
    if changes:
        raise UserError(
            f'{path} was made with other options: {"; ".join(changes)}. Change them back; or begin a new training '
            'under another name from its weights, with path.pretrain_network_g.'
        )


def _defaults(where: str, section: type[Options]) -> dict[str, Any]:
    """What holds where a key is absent: writing it out is no change."""
    values = {f'{where}.{name}': field.default for name, field in fields(section).items() if not field.is_required()}
    return {key: value for key, value in values.items() if value is not None}


def _flat(part: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', _plain(value)


def _plain(value: Any) -> Any:
    """Bring a value into the form in which it comes back from a file."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
