"""Which checkpoints a training keeps, and what lies in them."""

from __future__ import annotations

import math
import random
import shutil

import cv2
import numpy as np
import pytest
import torch
from deblur_models import loader
from test_deblur_model import weights

from deeprftv2_arch.checkpoints.io import read_checkpoint
from deeprftv2_arch.evaluation.evaluator import Evaluator
from deeprftv2_arch.evaluation.results import DatasetResult
from deeprftv2_arch.evaluation.scores import ImageScore, Scores
from deeprftv2_arch.utils.errors import UserError


def numbered(folder, pattern: str) -> list[int]:
    return sorted(int(path.stem.split('_')[-1]) for path in folder.glob(pattern) if path.stem[-1].isdigit())


def save_at(model, train_for, batch, *iterations: int) -> None:
    for iteration in iterations:
        train_for(model, batch, range(iteration, iteration + 1))
        model.save(epoch=0, current_iter=iteration)


def pretend_scores(monkeypatch, scores) -> None:
    """Have the validation after an iteration find a value of the metric `score`."""

    def evaluate(self, dataloader, stop, *, label, save_images):
        image = ImageScore(0, 'an image', {'score': scores[label]}, (), '')
        return DatasetResult('Photos', {}, None, self.metrics, Scores([image], {}))

    monkeypatch.setattr(Evaluator, 'evaluate', evaluate)


def test_the_newest_checkpoints_stay(make_model, batch, train_for, tmp_path):
    model = make_model(logger={'pbar': False, 'keep_checkpoints': 2})
    save_at(model, train_for, batch, 1, 2, 3, 4, 5)
    model.save(epoch=-1, current_iter=-1)
    assert numbered(tmp_path / 'training_states', '*.state') == [4, 5]
    assert numbered(tmp_path / 'models', '*.pth') == [4, 5]
    assert (tmp_path / 'models' / 'net_g_latest.pth').is_file()


def test_by_default_all_stay(make_model, batch, train_for, tmp_path):
    save_at(make_model(), train_for, batch, 1, 2, 3, 4)
    assert numbered(tmp_path / 'training_states', '*.state') == [1, 2, 3, 4]


def test_what_was_just_saved_is_never_taken_for_an_old_one(make_model, batch, train_for, tmp_path):
    """After 8 and 9 were found torn, the training went on from 1: they have higher numbers, and do not count."""
    model = make_model(logger={'pbar': False, 'keep_checkpoints': 2})
    save_at(model, train_for, batch, 1, 8, 9)
    save_at(model, train_for, batch, 2, 3, 4)
    assert {3, 4} <= set(numbered(tmp_path / 'training_states', '*.state'))
    assert 2 not in numbered(tmp_path / 'training_states', '*.state')


@pytest.mark.parametrize(('better', 'values', 'best'), [('higher', [1, 3, 2], 2), ('lower', [2, 3, 1, 1], 3)])
def test_the_best_by_a_metric_is_kept(
    make_model, batch, train_for, write_pairs, monkeypatch, tmp_path, better, values, best
):
    options = {'metrics': {'score': {'type': 'calculate_psnr', 'crop_border': 0, 'better': better}}, 'best': 'score'}
    model = make_model(train={'ema_decay': 0.5}, val=options, logger={'pbar': False, 'keep_checkpoints': 1})
    data, trained = loader(write_pairs(count=1)), {}
    pretend_scores(monkeypatch, dict(enumerate(values, 1)))
    for iteration in range(1, len(values) + 1):
        save_at(model, train_for, batch, iteration)
        trained[iteration] = weights(model.net_g_ema).clone()
        model.validation(data, iteration, None)
    content = read_checkpoint(tmp_path / 'models' / 'net_g_best.pth')
    assert content['best'] == {'data': 'Photos', 'metric': 'score', 'value': values[best - 1], 'iter': best, 'since': 0}
    kept = torch.cat([value.flatten() for key, value in content['params_ema'].items() if key != 'forwards'])
    assert torch.equal(kept, trained[best])

    resumed = make_model(train={'ema_decay': 0.5}, val=options)
    resumed.resume_training(read_checkpoint(tmp_path / 'training_states' / f'{len(values)}.state'))
    # The last validation came after the last state was written.
    assert resumed.history.best == model.history.best
    earlier = make_model(train={'ema_decay': 0.5}, val=options)
    earlier.resume_training({**read_checkpoint(tmp_path / 'training_states' / f'{len(values)}.state'), 'iter': 1})
    assert earlier.history.best['iter'] == 1


def test_only_the_first_validation_set_decides(make_model, write_pairs, tmp_path):
    model = make_model(val={'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}, 'best': 'psnr'})
    model.validation(loader(write_pairs('one')), 1, None)
    first = dict(model.history.best)
    easy = write_pairs('two')
    shutil.copytree(easy.gt, easy.lq, dirs_exist_ok=True)
    model.validation(loader(easy, name='Other'), 1, None)
    assert model.history.best == first


def test_patience_ends_the_training_and_survives_a_resume(
    make_model, batch, train_for, write_pairs, monkeypatch, tmp_path
):
    options = {'metrics': {'score': {'type': 'calculate_psnr', 'crop_border': 0}}, 'best': 'score', 'patience': 2}
    pretend_scores(monkeypatch, {1: 1.0, 2: 3.0, 3: 2.0, 4: 3.0})
    model, data = make_model(val=options), loader(write_pairs(count=1))
    for iteration in (1, 2, 3):
        save_at(model, train_for, batch, iteration)
        model.validation(data, iteration, None)
        assert model.stop_reason == ''
    save_at(model, train_for, batch, 4)

    resumed = make_model(val=options)
    resumed.resume_training(read_checkpoint(tmp_path / 'training_states' / '4.state'))
    resumed.validation(data, 4, None)
    assert resumed.stop_reason.startswith(
        'score on Photos has not improved in 2 validations (val.patience); its best, 3'
    )
    assert 'iteration 2: ' in resumed.stop_reason


def test_a_value_that_is_not_finite_decides_nothing(make_model, batch, train_for, write_pairs, monkeypatch):
    options = {'metrics': {'score': {'type': 'calculate_psnr', 'crop_border': 0}}, 'best': 'score', 'patience': 2}
    pretend_scores(monkeypatch, dict(enumerate([math.inf, 1.0, math.nan, math.inf, -math.inf, math.inf, 2.0], 1)))
    model, data = make_model(val=options), loader(write_pairs(count=1))
    for iteration in range(1, 8):
        train_for(model, batch, range(iteration, iteration + 1))
        model.validation(data, iteration, None)
        assert model.stop_reason == ''
        best = model.history.best
        assert (best and best['iter']) == (None if iteration == 1 else 2 if iteration < 7 else 7)
    assert model.best_metric_results['Photos']['score'] == {'better': 'higher', 'val': 2.0, 'iter': 7}


def test_images_restored_without_a_difference_do_not_decide(make_model, write_pairs):
    options = {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}, 'best': 'psnr'}
    model, folders = make_model(val=options, network_g={'type': 'OneOutputProbe'}), write_pairs(count=3)
    for folder in folders:  # a black frame, which no bias brightens
        cv2.imwrite(str(folder / '001.png'), np.zeros((40, 48, 3), np.uint8))
    with torch.no_grad():
        model.net_g.weight.zero_()
        model.net_g.bias.zero_()
    model.validation(loader(folders), 1, None)
    assert model.metric_results['psnr'] == math.inf
    assert math.isfinite(model.history.best['value'])


@pytest.mark.parametrize(
    ('more', 'says'), [({'patience': 0, 'best': 'psnr'}, 'val.patience: expected'), ({'patience': 3}, 'val.best')]
)
def test_patience_that_makes_no_sense(make_model, more, says):
    with pytest.raises(UserError, match=says):
        make_model(val={'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}, **more})


def test_a_metric_that_is_not_there(make_model):
    options = {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}, 'best': 'psnt'}
    with pytest.raises(UserError, match=r"val\.best: 'psnt' is not in val\.metrics \(psnr\) \(did you mean 'psnr'\?\)"):
        make_model(val=options)


def test_all_random_numbers_go_on_where_they_were(make_model, batch, train_for, tmp_path):
    model = make_model()
    save_at(model, train_for, batch, 1)
    drawn = random.random(), np.random.random(), torch.rand(()).item()
    other = make_model()
    other.resume_training(read_checkpoint(tmp_path / 'training_states' / '1.state'))
    assert drawn == (random.random(), np.random.random(), torch.rand(()).item())


def test_validation_draws_no_numbers_of_the_training(make_model, write_pairs):
    model, data = make_model(), loader(write_pairs())
    before = torch.get_rng_state()
    model.validation(data, 1, None)
    assert torch.equal(torch.get_rng_state(), before)
