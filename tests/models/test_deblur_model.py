"""DeblurModel, step by step against what the released training does."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from deblur_models import loader
from torch.utils.data import DataLoader, Dataset

from deeprftv2_arch.losses import frequency_distance
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.utils.errors import UserError


def weights(net) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def test_one_iteration_equals_the_same_step_by_hand(make_model, batch):
    model = make_model()
    twin = make_model().net_g
    assert torch.equal(weights(model.net_g), weights(twin))
    model.feed_data(batch)
    model.optimize_parameters(1)

    full, half = twin(batch['lq'], return_all=True)
    terms = {
        f'l_{name}{suffix}': sum(loss(image, target) for image in images) / len(images)
        for (suffix, images), target in zip([('', full), ('_half', half)], image_pyramid(batch['gt'], 2), strict=True)
        for name, loss in [('pix', torch.nn.functional.l1_loss), ('fft', lambda p, t: 0.01 * frequency_distance(p, t))]
    }
    total = sum(terms.values())
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.01)
    torch.optim.AdamW(twin.parameters(), lr=1e-3, betas=(0.9, 0.9), weight_decay=1e-3).step()

    torch.testing.assert_close(weights(model.net_g), weights(twin), rtol=0, atol=1e-8)
    log = model.get_current_log()
    assert list(log) == ['l_pix', 'l_fft', 'l_pix_half', 'l_fft_half', 'l_total', 'grad_norm']
    for name, value in {**terms, 'l_total': total, 'grad_norm': norm}.items():
        assert log[name] == pytest.approx(value.item(), rel=1e-5)
    assert norm > 0.01


def test_network_with_one_output_is_supervised_at_full_scale(make_model, batch):
    model = make_model(network_g={'type': 'OneOutputProbe'})
    model.feed_data(batch)
    model.optimize_parameters(1)
    assert list(model.get_current_log()) == ['l_pix', 'l_fft', 'l_total', 'grad_norm']


def test_training_lowers_the_loss(make_model, batch, train_for):
    model = make_model(train={'total_iter': 200})
    train_for(model, batch, range(1, 2))
    first = model.get_current_log()['l_total']
    train_for(model, batch, range(2, 201))
    assert model.get_current_log()['l_total'] < 0.8 * first


@pytest.mark.parametrize(('clip', 'largest'), [(0.5, 0.5), (0, math.inf)])
def test_gradient_is_clipped_by_its_global_norm(make_model, batch, clip, largest):
    model = make_model(train={'grad_clip': clip, 'pixel_opt': {'type': 'L1Loss', 'loss_weight': 100}})
    model.feed_data(batch)
    model.optimize_parameters(1)
    norm = torch.stack([parameter.grad.norm() for parameter in model.net_g.parameters()]).norm().item()
    before = model.get_current_log()['grad_norm']
    assert before > 0.5
    assert norm == pytest.approx(min(before, largest), rel=1e-4)


def test_learning_rate_falls_from_the_second_iteration_on(make_model, batch, train_for):
    model = make_model()
    expected = [1e-7 + (1e-3 - 1e-7) * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)]
    assert train_for(model, batch, range(1, 11)) == pytest.approx(expected, rel=1e-12)


def test_warm_up_does_not_move_the_curve(make_model, batch, train_for):
    warm = train_for(make_model(train={'warmup_iter': 4}), batch, range(1, 11))
    cold = train_for(make_model(), batch, range(1, 11))
    assert warm[:3] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3])
    assert warm[3:] == cold[3:]


def test_resumed_training_is_the_training_without_a_break(make_model, batch, train_for, tmp_path):
    settings = {'ema_decay': 0.9}
    straight = make_model(train=settings)
    rates = train_for(straight, batch, range(1, 9))

    first = make_model(train=settings)
    first_rates = train_for(first, batch, range(1, 5))
    first.save(epoch=0, current_iter=4)
    second = make_model(train=settings, path={'pretrain_network_g': str(tmp_path / 'models' / 'net_g_4.pth')})
    second.resume_training(torch.load(tmp_path / 'training_states' / '4.state', weights_only=True))
    second_rates = train_for(second, batch, range(5, 9))

    assert first_rates + second_rates == rates
    assert torch.equal(weights(second.net_g), weights(straight.net_g))
    assert torch.equal(weights(second.net_g_ema), weights(straight.net_g_ema))
    assert second.net_g.forwards == straight.net_g.forwards == 8


def test_ema_follows_the_weights_and_copies_buffers(make_model, batch, train_for):
    model = make_model(train={'ema_decay': 0.75})
    expected = weights(model.net_g_ema)
    assert torch.equal(expected, weights(model.net_g))
    for iteration in range(1, 4):
        train_for(model, batch, range(iteration, iteration + 1))
        expected = 0.75 * expected + 0.25 * weights(model.net_g)
    torch.testing.assert_close(weights(model.net_g_ema), expected)
    assert model.net_g_ema.forwards == 3


def test_ema_starts_from_weights_without_a_mean_of_their_own(make_model, tmp_path):
    source = make_model()
    with torch.no_grad():
        source.net_g.fine.bias.fill_(7)
    source.save(epoch=0, current_iter=3)
    model = make_model(train={'ema_decay': 0.9}, path={'pretrain_network_g': str(tmp_path / 'models' / 'net_g_3.pth')})
    assert torch.equal(weights(model.net_g_ema), weights(source.net_g))


def test_validation_scores_and_saves_what_the_network_gives(make_model, write_pairs, tmp_path):
    model, data = make_model(), loader(write_pairs(count=3))
    model.validation(data, 7, None, save_img=True)
    expected = []
    for item in data:
        with torch.no_grad():
            restored = tensor2img(model.net_g.eval()(item['lq']))
        stem = Path(item['lq_path'][0]).stem
        saved = tmp_path / 'visualization' / stem / f'{stem}_7.png'
        np.testing.assert_array_equal(cv2.imread(str(saved)), restored)
        options = {'type': 'calculate_psnr', 'crop_border': 0}
        expected.append(calculate_metric({'img': restored, 'img2': tensor2img(item['gt'])}, options))
    assert model.metric_results['psnr'] == pytest.approx(np.mean(expected), rel=1e-12)
    assert model.best_metric_results['Photos']['psnr'] == {
        'better': 'higher',
        'val': model.metric_results['psnr'],
        'iter': 7,
    }


def test_validation_leaves_the_training_as_it_was(make_model, batch, train_for, write_pairs):
    validated, straight = make_model(), make_model()
    train_for(straight, batch, range(1, 4))
    for iteration in range(1, 4):
        train_for(validated, batch, range(iteration, iteration + 1))
        validated.validation(loader(write_pairs(f'set{iteration}')), iteration, None)
        assert validated.net_g.training
        assert not any(hasattr(validated, name) for name in ('lq', 'gt', 'output'))
    assert torch.equal(weights(validated.net_g), weights(straight.net_g))


def test_validation_uses_the_mean_of_the_weights(make_model, write_pairs, batch):
    model, data = make_model(train={'ema_decay': 0.5}), loader(write_pairs(count=1))
    with torch.no_grad():
        model.net_g_ema.fine.bias.fill_(0.125)
    model.feed_data(next(iter(data)))
    model.test()
    assert torch.equal(model.output, model.net_g_ema(model.lq))
    assert not torch.equal(model.output, model.net_g.eval()(model.lq))


def test_pictures_of_one_name_in_two_folders_do_not_overwrite_each_other(make_model, write_pairs, tmp_path):
    folders = write_pairs('all/one')
    for role in ('blur', 'sharp'):
        (tmp_path / role / 'one').parent.mkdir()
        (tmp_path / 'all' / 'one' / role).rename(tmp_path / role / 'one')
        (tmp_path / role / 'two').symlink_to(tmp_path / role / 'one')
    folders = folders._replace(lq=tmp_path / 'blur', gt=tmp_path / 'sharp')
    model = make_model(is_train=False)
    model.validation(loader(folders, recursive=True), 'probe', None, save_img=True)
    saved = sorted(
        path.relative_to(tmp_path / 'visualization' / 'Photos') for path in tmp_path.glob('visualization/**/*.png')
    )
    assert [str(path) for path in saved] == [
        f'{sub}/00{index}_probe.png' for sub in ('one', 'two') for index in range(4)
    ]


def test_batch_without_ground_truth_does_not_keep_the_last_one(make_model, batch):
    model = make_model()
    model.feed_data(batch)
    model.feed_data({'lq': batch['lq']})
    assert not hasattr(model, 'gt')


def test_images_without_ground_truth_are_restored(make_model, tmp_path):
    class Unpaired(Dataset):
        opt = {'name': 'Own', 'dataroot_lq': 'photos'}  # noqa: RUF012

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {'lq': torch.rand(3, 9, 7), 'lq_path': f'photos/{index}.jpg'}

    model = make_model(is_train=False, val={'metrics': None, 'suffix': 'sharp'})
    model.validation(DataLoader(Unpaired()), 'probe', None, save_img=True)
    assert sorted(path.name for path in (tmp_path / 'visualization' / 'Own').iterdir()) == [
        '0_sharp.png',
        '1_sharp.png',
    ]
    with pytest.raises(UserError, match=r'Own: val\.metrics need sharp images \(psnr\)'):
        make_model(is_train=False).validation(DataLoader(Unpaired()), 'probe', None)


def test_empty_validation_set_is_refused(make_model):
    class Empty(Dataset):
        opt = {'name': 'Nothing'}  # noqa: RUF012

        def __len__(self):
            return 0

    with pytest.raises(UserError, match="'Nothing' holds no images"):
        make_model().validation(DataLoader(Empty()), 1, None)


@pytest.mark.parametrize('role', ['lq', 'gt'])
def test_image_that_is_not_finite_stops_before_the_weights_change(make_model, batch, train_for, role):
    model = make_model()
    train_for(model, batch, range(1, 3))
    before = weights(model.net_g).clone()
    damaged = {**batch, role: batch[role].clone()}
    damaged[role][1, 0, 2, 3] = math.nan
    with pytest.raises(UserError, match=f'NaN or infinite pixels in {batch[f"{role}_path"][1]}\\.'):
        train_for(model, damaged, range(3, 4))
    assert torch.equal(weights(model.net_g), before)


def test_steps_that_are_not_finite_are_skipped_and_counted(make_model, batch, train_for):
    model = make_model(train={'ema_decay': 0.5})
    train_for(model, batch, range(1, 3))
    before = [weights(net).clone() for net in (model.net_g, model.net_g_ema)]
    with torch.no_grad():
        bias = model.net_g.coarse.bias.clone()
        model.net_g.coarse.bias.fill_(math.inf)
    train_for(model, batch, range(3, 5))
    assert model.get_current_log()['bad_steps'] == 2
    with torch.no_grad():
        assert model.net_g.coarse.bias.isinf().all()
        model.net_g.coarse.bias.copy_(bias)
    assert torch.equal(weights(model.net_g), before[0])
    assert torch.equal(weights(model.net_g_ema), before[1])
    train_for(model, batch, range(5, 6))
    assert model.bad_steps.state() == {'in_a_row': 0, 'total': 2}
    assert not torch.equal(weights(model.net_g), before[0])


def test_too_many_bad_steps_in_a_row_end_the_training(make_model, batch, train_for, tmp_path):
    model = make_model(train={'max_bad_steps': 3})
    train_for(model, batch, range(1, 3))
    model.save(epoch=0, current_iter=2)
    with torch.no_grad():
        model.net_g.coarse.bias.fill_(math.inf)
    train_for(model, batch, range(3, 5))
    with pytest.raises(UserError) as told:
        train_for(model, batch, range(5, 6))
    for words in ('Iteration 5', 'train.max_bad_steps', str(tmp_path / 'models' / 'net_g_2.pth'), 'train.optim_g.lr'):
        assert words in str(told.value)


def test_result_that_is_not_finite_is_not_scored(make_model, write_pairs, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.net_g.fine.bias.fill_(math.nan)
    with pytest.raises(UserError, match=r'blur/000\.png: the restored image has NaN'):
        model.validation(loader(write_pairs()), 1, None, save_img=True)
    assert not list(tmp_path.glob('visualization/**/*.png'))


@pytest.mark.parametrize(
    ('train', 'message'),
    [
        ({'grad_clipp': 1}, r"train\.grad_clipp: unknown key for DeblurModel \(did you mean 'grad_clip'\?\)"),
        ({'grad_clip': '1e-2'}, r'train\.grad_clip: expected a number'),
        ({'ema_decay': -1}, r'train\.ema_decay: expected a number'),
        ({'pixel_opt': None, 'fft_opt': None}, 'train: no loss is given. Add pixel_opt'),
        ({'total_iter': 0}, r'train\.total_iter: expected a whole number of at least 1, got 0'),
    ],
)
def test_wrong_options_are_named(make_model, train, message):
    with pytest.raises(UserError, match=message):
        make_model(train=train)


def test_partial_loading_is_refused(make_model, tmp_path):
    make_model().save(epoch=0, current_iter=1)
    with pytest.raises(UserError, match='strict_load_g'):
        make_model(path={'pretrain_network_g': str(tmp_path / 'models' / 'net_g_1.pth'), 'strict_load_g': False})
