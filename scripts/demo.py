"""Watch a DeepRFTv2 learn to deblur: `make demo`, or `python scripts/demo.py`.

Blurs photographs as a shaking camera would, trains a small network on them through BasicSR, interrupts the training
half way and resumes it, restores photographs that training never saw, and shows how much better they became. Whatever
it makes lies below `demo/`, `experiments/demo/` and `results/demo/`.

A run that was interrupted is taken up by the next one; after a complete run the next one starts afresh.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# One thread unless the user says otherwise: the maps of the demo are too small to share. On two cores a second thread
# makes an iteration a tenth faster when the machine is idle, and many times slower when it is not.
os.environ.setdefault('OMP_NUM_THREADS', '1')

from demo_steps.console import say  # noqa: E402

if __name__ == '__main__':
    say('Load PyTorch and BasicSR')

import deeprftv2_arch  # noqa: E402, F401  patches BasicSR, which must come before any import of it

# isort: split
import numpy as np  # noqa: E402
import yaml  # noqa: E402
from demo_steps import estimated, launch, pairs, photographs, picture, report  # noqa: E402

TRAIN_OPTIONS, TEST_OPTIONS = ROOT / 'options/demo_train.yml', ROOT / 'options/demo_test.yml'


@dataclass(frozen=True)
class Plan:
    """One size of the demo.

    Attributes:
        name: Name of the experiment, and of the folders that belong to it.
        recipe: The data.
        train: What is different from `options/demo_train.yml`, in the form of `--force_yml`.
        test: What is different from `options/demo_test.yml`.
    """

    name: str
    recipe: pairs.Recipe
    train: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return ROOT / self.name.replace('_', '/')

    @property
    def picture(self) -> Path:
        return self.folder / 'comparison.png'

    @property
    def table(self) -> Path:
        return self.folder / 'table.md'

    @property
    def experiment(self) -> Path:
        return ROOT / 'experiments' / self.name

    @property
    def weights(self) -> Path:
        return self.experiment / 'models' / 'net_g_latest.pth'

    @property
    def results(self) -> Path:
        return ROOT / 'results' / self.name


FULL = Plan('demo', pairs.Recipe(crops=1000, crop_size=128, extents=(4, 10), scales=(1, 0.7, 0.5)))


def quick() -> Plan:
    """A plan that does everything and learns nothing, in less than a minute."""
    name = 'demo_quick'

    def roots(phase: str) -> dict[str, str]:
        return {f'datasets:{phase}:dataroot_{side}': f'demo/quick/data/{phase}/{side}.lmdb' for side in pairs.SIDES}

    return Plan(
        name,
        pairs.Recipe(crops=8, crop_size=72, extents=(4, 10), scales=(1,), test_size=88),
        {
            'name': name,
            **roots('train'),
            'train:total_iter': 8,
            'logger:print_freq': 1,
            'logger:save_checkpoint_freq': 2,
        },
        {'name': name, **roots('test'), 'path:pretrain_network_g': f'experiments/{name}/models/net_g_latest.pth'},
    )


def clear_the_way(plan: Plan) -> None:
    """Keep what an interrupted run of the same plan left; remove what belongs to a complete run or to another plan."""
    note = plan.folder / 'plan.json'
    wanted = {**asdict(plan), 'options': [path.read_text() for path in (TRAIN_OPTIONS, TEST_OPTIONS)]}
    text = json.dumps(wanted, indent=2)
    if plan.picture.exists() or not note.exists() or note.read_text() != text:
        for folder in (plan.experiment, plan.results):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (plan.table, plan.picture):
            file.unlink(missing_ok=True)
        plan.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(text)


def train(plan: Plan) -> None:
    """Train to the half, interrupt, resume, and train to the end; start where an earlier run stopped."""
    options = yaml.safe_load(TRAIN_OPTIONS.read_text().replace('!!float ', ''))
    total = plan.train.get('train:total_iter', options['train']['total_iter'])
    half = total // 2
    states = plan.experiment / 'training_states'
    if plan.weights.exists():
        say('Training was complete already')
        return
    done = launch.last_state(states)
    if done is None:
        shutil.rmtree(plan.experiment, ignore_errors=True)
        done = 0
    for stop in (half, total):
        if done >= stop < total:
            continue
        flags = ['--auto_resume'] if done else []
        arguments = launch.command('train', TRAIN_OPTIONS, plan.train, *flags)
        say(f'{"Resume" if done else "Train"}: {launch.as_typed(arguments)}')
        resumed = launch.train(arguments, done, total, states / f'{half}.state' if stop < total else None)
        if (resumed or 0) != done:
            raise launch.LaunchError(f'training resumed at iteration {resumed}, not at {done}')
        if stop < total:
            stop = launch.last_state(states)
            say(f'Interrupted on purpose: stopped and saved after iteration {stop}')
        done = stop


def test(plan: Plan) -> None:
    """Restore the photographs held aside."""
    shutil.rmtree(plan.results, ignore_errors=True)
    arguments = launch.command('test', TEST_OPTIONS, plan.test)
    say(f'Test: {launch.as_typed(arguments)}')
    launch.run(arguments)


def compare(plan: Plan) -> str:
    """Write the table and the picture; return the table."""
    data = plan.folder / 'data' / 'test'
    kernels = np.load(data / 'kernels.npz')
    estimator = estimated.Estimator(TEST_OPTIONS, plan.weights)
    rows, panels = [], []
    for name in photographs.HELD_ASIDE:
        blurred, sharp = pairs.read_lmdb(data, name)
        restored = picture.read(plan.results / 'visualization' / 'held_aside' / f'{name}_{plan.name}.png')
        row = report.Row(name, report.quality(blurred, sharp), report.quality(restored, sharp))
        rows.append(row)
        crops = [picture.crop(image, photographs.DETAIL[name]) for image in (blurred, restored, sharp)]
        found = estimator.kernel(blurred=crops[0], sharp=crops[2])
        panels.append(
            picture.Panel(
                name,
                dict(zip(('blurred', 'restored', 'sharp'), crops, strict=True)),
                {'true kernel': kernels[name], "FKE's kernel": found},
                [f'{row.blurred.psnr:.2f} dB', f'{row.restored.psnr:.2f} dB', '', '', 'what the blur adds to it'],
            )
        )
    table = report.table(rows)
    plan.table.write_text(table + '\n')
    picture.save(panels, plan.picture, 'Photographs that the network never saw, with PSNR over the whole photograph')
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a few iterations only: to see that everything works')
    plan = quick() if parser.parse_args().quick else FULL
    try:
        with launch.alone(ROOT / 'demo' / 'lock'):
            clear_the_way(plan)
            say(f'Blur photographs: {", ".join(photographs.TRAINING)} to train on')
            pairs.make(plan.recipe, plan.folder / 'data')
            train(plan)
            test(plan)
            table = compare(plan)
    except KeyboardInterrupt:
        say('Interrupted. Start again to go on from here.')
        return 130
    except launch.LaunchError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'\n{table}\n')
    say(f'Look at {plan.picture.relative_to(ROOT)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
