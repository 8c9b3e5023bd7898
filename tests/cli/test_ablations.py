"""`deeprftv2 ablations`: every row counts what the paper counts, trains, and can be written as an option file."""

from __future__ import annotations

import argparse

import pytest
import torch
import yaml
from processes import ROOT

from deeprftv2_arch.analysis.ablation_options import ablation_options, narrowed
from deeprftv2_arch.analysis.ablations import ABLATIONS, Ablation, rows_of
from deeprftv2_arch.analysis.complexity import measure
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.cli import ablations as command
from deeprftv2_arch.models.supervision import supervise
from deeprftv2_arch.utils.console import exit_code

# The paper also counts biases, norms and pooling.
RATIO = (1.008, 1.017)
WIDTH, PIXELS = 48, 256 * 256
BINS = 256 * 129
ESTIMATORS_OF_TABLE_7 = {
    # Of one estimator with ResBlocks: what it is made of, per pixel and per bin of the half spectrum.
    'table7.2': PIXELS * (WIDTH**2 * (2 + 4 * 18 + 1 + 1 + 2) + 27 * WIDTH),
    'table7.4': PIXELS * (WIDTH**2 * 2 + 6 * WIDTH + 27 * WIDTH) + BINS * WIDTH**2 * (2 + 4 * 18 + 2),
}
UNIQUE = {str(ablation.network): ablation for ablation in ABLATIONS.values()}


def build(ablation: Ablation, width: int | None = None) -> DeepRFTv2:
    network = dict(ablation.network) if width is None else narrowed(ablation.network, width)
    network.pop('type')
    return DeepRFTv2(**network)


def macs(name: str) -> int:
    with torch.device('meta'):
        return measure(build(ABLATIONS[name]), 256, 256).macs


@pytest.mark.parametrize('ablation', [row for row in ABLATIONS.values() if row.gflops], ids=lambda row: row.name)
def test_rows_count_what_the_paper_counts(ablation: Ablation) -> None:
    assert RATIO[0] < ablation.gflops / (macs(ablation.name) / 1e9) < RATIO[1]


@pytest.mark.parametrize(('name', 'estimator'), ESTIMATORS_OF_TABLE_7.items())
def test_rows_without_a_published_count_have_the_derived_one(name: str, estimator: int) -> None:
    assert macs(name) == macs('table7.1') + estimator


def test_rows_that_cost_the_same_do() -> None:
    """No option of these rows adds or saves an operation."""
    base = macs('table7.8')
    assert macs('table7.3') == macs('table7.6') == macs('table7.7') == base
    assert macs('table7.5') == macs('table7.4')
    # Three fusions of 2C to C channels in the second column, at both scales.
    assert macs('table7.10') - macs('table7.9') == 3 * 2 * WIDTH**2 * (BINS + 128 * 65)


@pytest.mark.parametrize('ablation', UNIQUE.values(), ids=lambda row: row.name)
def test_a_step_of_every_row_has_finite_gradients_for_all_parameters(ablation: Ablation) -> None:
    torch.manual_seed(0)
    net = build(ablation, 4)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma', 'global_gain')):
                parameter.fill_(0.1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    x, target = torch.rand(2, 1, 3, 16, 16)
    losses = supervise({'l_pix': torch.nn.MSELoss()}, net(x, return_all=True), target)
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    still = {name for name, gradient in gradients.items() if not gradient.any()}
    # Maps that do not exist before the first column have nothing to scale.
    assert all('columns.0' in name and 'scalings' in name for name in still), still
    optimizer.step()
    assert all(parameter.isfinite().all() for parameter in net.parameters())


def test_the_recipe_is_that_of_the_option_file_of_row_14() -> None:
    ours = ablation_options(ABLATIONS['table6.14'])
    with open(ROOT / 'options' / 'train_gopro_s.yml', encoding='utf-8') as file:
        expected = yaml.safe_load(file)
    assert ours.pop('name') == 'table6.14_GoPro'
    del expected['name']
    assert ours == expected


def test_an_option_file_is_complete_and_says_what_is_certain(tmp_path, capsys) -> None:
    file = tmp_path / 'my.yml'
    assert exit_code(lambda: command.main(['table7.5', '--out', str(file)])) == 0
    assert capsys.readouterr().out.strip() == str(file)
    text = file.read_text()
    head = ' '.join(line.removeprefix('# ') for line in text.splitlines() if line.startswith('#'))
    assert 'Table 7, row 5' in head
    assert 'not sure' in head
    options = yaml.safe_load(text)
    assert options['network_g']['fke_input'] == 'restored'
    assert options['train']['stages'] == [{'gt_size': 256, 'total_batch': 16, 'iterations': 200000}]
    assert '&id' not in text
    assert exit_code(lambda: command.main(['table7.5'])) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['table6.50'], "no row 'table6.50' (did you mean"),
        (['--train', 'table6', '--lq', 'nowhere'], 'There is no folder nowhere'),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], says: str, capsys) -> None:
    assert exit_code(lambda: command.main(arguments)) == 2
    assert says in (said := capsys.readouterr().err)
    assert said.count('\n') == 1


class FakeTraining:
    """Stands for the process of a training: writes the values that one would log."""

    def __init__(self, fails_at: str = '') -> None:
        self.fails_at, self.names = fails_at, []

    def __call__(self, line: list[str], check: bool) -> argparse.Namespace:
        with open(line[line.index('-opt') + 1], encoding='utf-8') as file:
            options = yaml.safe_load(file)
        self.names.append(options['name'])
        if self.fails_at and self.fails_at in options['name']:
            return argparse.Namespace(returncode=1)
        from deeprftv2_arch.models.training_log import TrainingLog

        log = TrainingLog(f'experiments/{options["name"]}/values.csv')
        log.add_validation(options['train']['total_iter'], 'val', {'psnr': 20 + len(self.names)})
        return argparse.Namespace(returncode=0)


def test_a_table_in_small_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').mkdir()
    folders = [word for name in ('lq', 'gt', 'val-lq', 'val-gt') for word in (f'--{name}', 'images')]
    line = ['--train', 'table7', '--iterations', '10', '--width', '8', *folders]
    monkeypatch.setattr(command.subprocess, 'run', first := FakeTraining(fails_at='table7.4'))
    assert command.main(line) == 1
    assert 'Run the same command to go on' in capsys.readouterr().err
    monkeypatch.setattr(command.subprocess, 'run', second := FakeTraining())
    assert command.main(line) == 0
    names = [row.name for row in rows_of('table7')]
    assert [name.split('_')[0] for name in first.names[:3] + second.names] == names
    table = capsys.readouterr().out.splitlines()[-10:]
    assert [row.split()[0] for row in table] == names
    assert '32.74  21.00' in table[0]
    # Other images under the same name are not taken for a result.
    monkeypatch.setattr(command.subprocess, 'run', FakeTraining())
    (tmp_path / 'others').mkdir()
    assert exit_code(lambda: command.main([*line, '--lq', 'others'])) == 2
    assert 'was trained with other options' in capsys.readouterr().err
