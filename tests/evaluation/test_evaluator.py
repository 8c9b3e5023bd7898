"""Tests of whole data sets: the metric values, what is written about them, and how processes share the work."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.metrics import calculate_psnr
from basicsr.utils.registry import METRIC_REGISTRY
from deblur_models import loader
from torch.utils.data import DataLoader
from two_processes import in_two_processes

from deeprftv2_arch.config.protocols import PROTOCOLS, Protocol
from deeprftv2_arch.distributed.signals import GracefulStop
from deeprftv2_arch.evaluation.evaluator import Evaluator, Restored
from deeprftv2_arch.evaluation.scores import ImageScore, Scores
from deeprftv2_arch.metrics import psnr
from deeprftv2_arch.utils.errors import UserError

PSNR = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}


def examined(make_model, data, metrics=PSNR, network='Identity', **sections):
    model = make_model(is_train=False, network_g={'type': network}, val={'metrics': metrics}, **sections)
    model.validation(data, 'probe', None, save_img=False)
    return model


def blurred_values(folders):
    return [
        calculate_psnr(cv2.imread(str(lq)), cv2.imread(str(folders.gt / lq.name)), crop_border=0)
        for lq in sorted(folders.lq.iterdir())
    ]


@pytest.fixture
def log(caplog):
    """What BasicSR's log says; it does not pass its lines on by itself."""
    logger = logging.getLogger('basicsr')
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def tiny_protocol(monkeypatch):
    """A protocol of four images."""
    gopro = PROTOCOLS['gopro']
    protocol = Protocol('tiny', 'Tiny', 4, 'in miniature', gopro.metrics, gopro.paper)
    for module in ('protocols', 'schema'):
        monkeypatch.setattr(f'deeprftv2_arch.config.{module}.PROTOCOLS', {**PROTOCOLS, 'tiny': protocol})
    return protocol


def test_identity_has_the_values_of_the_blurred_images(make_model, write_pairs, tmp_path):
    folders = write_pairs(count=3)
    model = examined(make_model, loader(folders))
    expected = blurred_values(folders)
    assert model.metric_results == {'psnr': pytest.approx(np.mean(expected), rel=1e-12)}
    with open(tmp_path / 'Photos.csv', newline='') as stream:
        rows = list(csv.DictReader(stream))
    assert [Path(row['image']).name for row in rows] == ['000.png', '001.png', '002.png']
    assert [float(row['psnr']) for row in rows] == pytest.approx(expected, rel=1e-12)
    assert not list(tmp_path.glob('*.part'))


def test_json_tells_all_that_the_values_depend_on(make_model, write_pairs, tmp_path, monkeypatch):
    file, weights = tmp_path / 'options.yml', tmp_path / 'net.pth'
    file.write_text('name: probe')
    torch.save({'params': {}}, weights)
    monkeypatch.setattr('sys.argv', ['test.py', '-opt', str(file), '--set', 'val.pbar=false'])
    folders = write_pairs(count=2)
    path = {'pretrain_network_g': str(weights)}
    model = examined(make_model, loader(folders, protocol='gopro'), metrics=None, path=path)
    results = json.loads((tmp_path / 'results.json').read_text())
    for key, known in (('option_file', file), ('checkpoint', weights)):
        assert results[key] == {'path': str(known), 'sha256': hashlib.sha256(known.read_bytes()).hexdigest()}
    assert results['arguments'] == ['-opt', str(file), '--set', 'val.pbar=false']
    assert results['versions']['torch'] == torch.__version__
    assert (results['network'], results['device']) == ('Identity', 'CPU')
    (found,) = results['datasets'].values()
    assert (found['images'], found['expected_images'], found['protocol']) == (2, 1111, 'gopro')
    assert found['data'] == {'lq': str(folders.lq), 'gt': str(folders.gt)}
    assert found['test_mode'] == 'as it is, not restored'
    assert [row['metric'] for row in found['figures']] == ['psnr', 'ssim_3d']
    assert found['figures'][0]['ours'] == model.metric_results['psnr']
    assert [row['paper'] for row in found['figures']] == ['34.52', '0.971']
    # Two images are not GoPro.
    assert [row['difference'] for row in found['figures']] == [None, None]


def test_equal_images_make_json_all_the_same(make_model, write_pairs, tmp_path):
    folders = write_pairs(count=1)
    shutil.copy(folders.gt / '000.png', folders.lq / '000.png')
    examined(make_model, loader(folders))
    results = json.loads((tmp_path / 'results.json').read_text(), parse_constant=pytest.fail)
    assert results['datasets']['Photos']['figures'][0]['ours'] == 'inf'


def test_log_puts_the_paper_beside_ours_where_both_are_the_same_thing(make_model, write_pairs, log, tiny_protocol):
    folders = write_pairs()
    # BasicSR's SSIM is not the protocol's; the PSNR is, though it is called otherwise and written at length.
    metrics = {
        'decibels': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False},
        'ssim_3d': {'type': 'calculate_ssim', 'crop_border': 0},
    }
    model = examined(make_model, loader(folders, protocol='tiny'), metrics=metrics)
    text = log.text
    assert 'Protocol: tiny: in miniature' in text
    assert 'Test mode: as it is, not restored' in text
    assert f'Data: {folders.lq}, {folders.gt}' in text
    assert 'Found: 4 images, as expected' in text
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('| Photos')
    ]
    ours = model.metric_results
    difference = f'{ours["decibels"] - 34.52:+.4f}'
    assert rows == [
        ['Photos', 'all', '4', 'decibels', f'{ours["decibels"]:.4f}', '34.52', 'DeepRFTv2-B', difference],
        ['Photos', 'all', '4', 'ssim_3d', f'{ours["ssim_3d"]:.4f}', '', '', ''],
        ['Photos', 'all', '4', 'ssim_3d', 'not measured', '0.971', 'DeepRFTv2-B', ''],
    ]


def test_wrong_number_of_images_is_told(make_model, write_pairs, log):
    examined(make_model, loader(write_pairs(), protocol='hide'), metrics=None)
    assert 'Found: 4 images, expected 2,025: not comparable with the paper' in log.text


def test_table_comes_after_the_last_data_set(make_model, write_pairs, log, tmp_path):
    data = [loader(write_pairs(name, count=count), name=name) for name, count in (('First', 1), ('Second', 2))]
    options = {'test_1': {'protocol': None}, 'test_2': {}}
    model = make_model(is_train=False, network_g={'type': 'Identity'}, datasets=options)
    model.validation(data[0], 'probe', None)
    assert '| images' not in log.text
    # What is done is safe even if the next data set is not.
    assert list(json.loads((tmp_path / 'results.json').read_text())['datasets']) == ['First']
    model.validation(data[1], 'probe', None)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in log.text.splitlines() if line[:1] == '|']
    assert [row for row in rows if row[0] in ('psnr', 'images')] == [['psnr', 'First', 'Second'], ['images', '1', '2']]
    assert list(json.loads((tmp_path / 'results.json').read_text())['datasets']) == ['First', 'Second']


def test_sets_of_one_protocol_stand_side_by_side(make_model, write_pairs, log, tiny_protocol):
    data = [loader(write_pairs(name), name=name, protocol='tiny') for name in ('First', 'Second')]
    model = make_model(is_train=False, network_g={'type': 'Identity'}, val={}, datasets={'test_1': {}, 'test_2': {}})
    values = []
    for dataset in data:
        model.validation(dataset, 'probe', None)
        values.append(model.metric_results)
    rows = {
        row[0]: row[1:]
        for line in log.text.splitlines()
        if line.startswith('|') and (row := [cell.strip() for cell in line.split('|')[1:-1]])
    }
    assert rows['psnr / ssim_3d'] == ['First', 'Second']
    assert rows['images'] == ['4', '4']
    assert rows['ours'] == [f'{found["psnr"]:.2f} / {found["ssim_3d"]:.3f}' for found in values]
    assert rows['DeepRFTv2-B in the paper'] == ['34.52 / 0.971'] * 2
    assert rows['difference'] == [f'{found["psnr"] - 34.52:+.2f} / {found["ssim_3d"] - 0.971:+.3f}' for found in values]


def test_groups_have_rows_of_their_own(make_model, write_pairs, log, tmp_path):
    folders = write_pairs(count=3)
    (tmp_path / 'indoor.txt').write_text('000\n002\n')
    data = loader(folders, groups={'indoor': str(tmp_path / 'indoor.txt')})
    examined(make_model, data)
    values = blurred_values(folders)
    shown = {
        line.split('|')[2].strip(): line.split('|')[5].strip() for line in log.text.splitlines() if '| Photos' in line
    }
    assert shown == {'indoor': f'{(values[0] + values[2]) / 2:.4f}', 'all': f'{np.mean(values):.4f}'}
    with open(tmp_path / 'Photos.csv', newline='') as stream:
        assert [row['group'] for row in csv.DictReader(stream)] == ['indoor', '', 'indoor']
    (tmp_path / 'indoor.txt').write_text('nowhere')
    with pytest.raises(UserError, match=r"Photos\.groups\.indoor: .*'nowhere' is none of the 3 images"):
        examined(make_model, data)


def test_padding_is_cut_off_before_anything_is_measured_or_saved(make_model, write_pairs, tmp_path):
    folders = write_pairs(count=2)
    data = loader(folders, pad_to=[56, 64])
    assert next(iter(data))['lq'].shape == (1, 3, 56, 64)
    model = make_model(is_train=False, network_g={'type': 'Identity'})
    model.validation(data, 'probe', None, save_img=True)
    assert model.metric_results['psnr'] == pytest.approx(np.mean(blurred_values(folders)), rel=1e-12)
    saved = cv2.imread(str(tmp_path / 'visualization' / 'Photos' / '000_probe.png'))
    np.testing.assert_array_equal(saved, cv2.imread(str(folders.lq / '000.png')))


def test_unquantized_metrics_see_what_the_network_gives(make_model, write_pairs):
    folders = write_pairs(count=1)
    metrics = {**PSNR, 'psnr_float': {'type': 'calculate_psnr_float'}, 'mae': {'type': 'calculate_mae'}}
    data = loader(folders)
    model = examined(make_model, data, metrics=metrics, network='OneOutputProbe')
    (item,) = data
    with torch.no_grad():
        output = model.net_g.eval()(item['lq']).clamp(0, 1)
    assert model.metric_results['psnr_float'] == pytest.approx(psnr(output.numpy(), item['gt'].numpy()), rel=1e-12)
    assert model.metric_results['psnr_float'] != model.metric_results['psnr']
    assert model.metric_results['mae'] == pytest.approx((output - item['gt']).abs().mean().item(), rel=1e-5)


def test_image_that_cannot_be_aligned_is_named_and_counted(make_model, write_pairs, log, tmp_path):
    folders = write_pairs(count=2, height=96, width=96)
    cv2.imwrite(str(folders.lq / '001.png'), np.full((96, 96, 3), 128, np.uint8))
    metrics = {name: PROTOCOLS['realblur_j'].metrics[name] for name in ('psnr_aligned', 'ssim_aligned')}
    examined(make_model, loader(folders), metrics=metrics)
    assert '001.png: ECC found no alignment; compared unaligned.' in log.text
    assert 'Remark: ECC found no alignment; compared unaligned (1 of 2)' in log.text
    remarks = json.loads((tmp_path / 'results.json').read_text())['datasets']['Photos']['remarks']
    assert remarks == {'ECC found no alignment; compared unaligned': 1}


def test_best_values_of_a_training_know_their_direction(make_model, write_pairs):
    model = make_model(val={'metrics': {**PSNR, 'mae': {'type': 'calculate_mae'}}})
    data = loader(write_pairs(count=2))
    model.validation(data, 1, None)
    first = dict(model.metric_results)
    with torch.no_grad():
        model.net_g.fine.bias.fill_(0.4)
    model.validation(data, 2, None)
    best = model.best_metric_results['Photos']
    assert model.metric_results['mae'] > first['mae']
    assert best['mae'] == {'better': 'lower', 'val': first['mae'], 'iter': 1}
    assert best['psnr'] == {'better': 'higher', 'val': first['psnr'], 'iter': 1}


def test_result_of_another_size_is_refused(make_model, write_pairs):
    with pytest.raises(
        UserError, match=r'000\.png: the restored and the sharp image differ in size: 96 x 80 and 48 x 40'
    ):
        make_model(is_train=False, network_g={'type': 'Bicubic', 'upscale': 2}).validation(
            loader(write_pairs(count=1)), 'probe', None
        )


def test_unknown_protocol_is_refused_at_the_start(make_model):
    with pytest.raises(UserError, match=r"datasets\.test\.protocol: there is no protocol 'gopr'"):
        make_model(is_train=False, datasets={'test': {'protocol': 'gopr'}})


def test_a_value_that_is_not_finite_is_named_with_its_image(make_model, write_pairs, log, tmp_path):
    folders = write_pairs(count=3)
    shutil.copy(folders.gt / '001.png', folders.lq / '001.png')
    examined(make_model, loader(folders))
    line = f'psnr is not finite on {folders.lq / "001.png"} (inf)'
    assert f'Remark: {line}' in log.text
    found = json.loads((tmp_path / 'results.json').read_text())['datasets']['Photos']
    assert found['not_finite'] == [line]
    assert found['figures'][0]['ours'] == 'inf'
    with open(tmp_path / 'Photos.csv', newline='') as stream:
        assert [row['remarks'] for row in csv.DictReader(stream)] == ['', 'psnr is inf', '']


def test_an_infinite_mean_is_not_compared_with_the_paper(make_model, write_pairs, log, tiny_protocol):
    folders = write_pairs()
    shutil.copy(folders.gt / '001.png', folders.lq / '001.png')
    examined(make_model, loader(folders, protocol='tiny'))
    row = next(line for line in log.text.splitlines() if line.startswith('| Photos'))
    assert [cell.strip() for cell in row.split('|')[4:9]] == ['psnr', 'inf', '34.52', 'DeepRFTv2-B', '']


def test_values_of_both_infinities_have_a_mean():
    images = [ImageScore(index, 'x', {'score': value}, (), '') for index, value in enumerate((math.inf, -math.inf))]
    assert math.isnan(Scores(images, {}).means()['score'])


@pytest.mark.parametrize(
    ('values', 'better', 'mean'),
    [
        ((1.0, 2.0), 'higher', 1.5),
        ((math.inf, 2.0), 'higher', 2.0),
        ((-math.inf, 2.0), 'lower', 2.0),
        ((math.inf, 2.0), 'lower', None),
        ((math.nan, 2.0), 'higher', None),
        ((math.inf, math.inf), 'higher', None),
    ],
)
def test_means_that_decide(values, better, mean):
    images = [ImageScore(index, 'x', {'score': value}, (), '') for index, value in enumerate(values)]
    assert Scores(images, {}).deciding_mean('score', better) == mean


def test_a_metric_of_the_image_alone_needs_no_sharp_one(make_model, write_pairs, monkeypatch):
    def calculate_brightness(img):
        return img.mean()

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_brightness', calculate_brightness)
    folders = write_pairs(count=1)
    data = DataLoader(
        SingleImageDataset({'name': 'One', 'dataroot_lq': str(folders.lq), 'io_backend': {'type': 'disk'}})
    )
    alone = {'brightness': {'type': 'calculate_brightness'}}
    expected = cv2.imread(str(folders.lq / '000.png')).mean()
    for images in (data, loader(folders)):
        assert examined(make_model, images, alone).metric_results == {'brightness': pytest.approx(expected)}
    with pytest.raises(UserError, match=r'One: val\.metrics need sharp images \(psnr\), and the data set has none'):
        examined(make_model, data, {**alone, **PSNR})


def test_weights_that_nobody_trained_are_told_wherever_values_are(make_model, write_pairs, log, tmp_path):
    examined(make_model, loader(write_pairs(count=1)), network='OneOutputProbe')
    notice = 'The weights are random: path.pretrain_network_g names no checkpoint.'
    assert log.text.count(notice) == 2
    assert f'Note: {notice}' in log.text
    assert json.loads((tmp_path / 'results.json').read_text())['notices'] == [notice]


def test_a_network_without_weights_needs_no_checkpoint(make_model, write_pairs, log, tmp_path):
    examined(make_model, loader(write_pairs(count=1)))
    assert json.loads((tmp_path / 'results.json').read_text())['notices'] == []
    assert 'random' not in log.text


@pytest.mark.parametrize(('key', 'told'), [('params', True), ('params_ema', False)])
def test_raw_weights_beside_a_running_mean_are_told(make_model, write_pairs, tmp_path, key, told):
    net = make_model(network_g={'type': 'OneOutputProbe'}).net_g.state_dict()
    torch.save({'params': net, 'params_ema': net}, tmp_path / 'net.pth')
    path = {'pretrain_network_g': str(tmp_path / 'net.pth'), 'param_key_g': key}
    examined(make_model, loader(write_pairs(count=1)), network='OneOutputProbe', path=path)
    results = json.loads((tmp_path / 'results.json').read_text())
    assert results['param_key'] == key
    assert [('holds params_ema too' in notice) for notice in results['notices']] == [True] * told


def test_the_table_comes_though_nothing_is_measured_on_the_last_set(make_model, write_pairs, log):
    names = {'test_1': {'protocol': 'gopro'}, 'test_2': {}}
    model = make_model(is_train=False, network_g={'type': 'Identity'}, datasets=names, val={})
    model.validation(loader(write_pairs('one', count=1), name='First', protocol='gopro'), 'probe', None)
    assert '| First' not in log.text
    model.validation(loader(write_pairs('two', count=1), name='Second'), 'probe', None)
    assert '| First' in log.text


def test_results_that_cannot_be_written_are_one_message(make_model, write_pairs, tmp_path):
    (tmp_path / 'Photos.csv').mkdir()
    with pytest.raises(UserError, match=r'Cannot write .*Photos\.csv: '):
        examined(make_model, loader(write_pairs(count=1)))


def test_whatever_restores_images_can_be_evaluated(write_pairs, tmp_path):
    folders = write_pairs(count=3)
    options = {
        'name': 'probe',
        'is_train': False,
        'path': {'visualization': str(tmp_path / 'visualization')},
        'val': {'metrics': PSNR},
    }
    evaluator = Evaluator(lambda batch: Restored(batch['lq'], 'not at all'), options)
    result = evaluator.evaluate(loader(folders), GracefulStop(), save_images=True)
    assert result.scores.means() == {'psnr': pytest.approx(np.mean(blurred_values(folders)), rel=1e-12)}
    assert result.scores.modes == 'not at all'
    saved = sorted(path.name for path in (tmp_path / 'visualization' / 'Photos').iterdir())
    assert saved == ['000_probe.png', '001_probe.png', '002_probe.png']


# Several processes


def validate(rank, make_model, data, folder, sections) -> None:
    model = make_model(dist=True, rank=rank, world_size=2, **sections)
    # Buffers may differ from process to process; those of rank 0 count.
    if hasattr(model.tested_network, 'forwards'):
        model.tested_network.forwards.fill_(rank)
    message = ''
    try:
        model.validation(data, 7, None, save_img=True)
    except UserError as error:
        message = str(error)
    found = {'results': getattr(model, 'metric_results', None), 'message': message, 'process': os.getpid()}
    found['buffers'] = [buffer.item() for buffer in model.tested_network.buffers()]
    (folder / f'{rank}.json').write_text(json.dumps(found))


def validate_in_two(make_model, data, tmp_path, **sections):
    in_two_processes(validate, make_model, data, tmp_path, sections)
    return [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)]


@pytest.mark.parametrize('count', [1, 5])
def test_two_processes_find_what_one_finds_to_the_last_digit(make_model, write_pairs, tmp_path, count):
    data = loader(write_pairs(count=count))
    first, second = validate_in_two(make_model, data, tmp_path)
    alone = make_model()
    alone.validation(data, 7, None)
    assert first['results'] == second['results'] == alone.metric_results
    assert first['buffers'] == second['buffers'] == [0]
    assert len(list(tmp_path.glob('visualization/*/*_7.png'))) == count


def test_two_processes_test_a_network_without_parameters(make_model, write_pairs, tmp_path):
    folders = write_pairs(count=3)
    sections = {'is_train': False, 'network_g': {'type': 'Identity'}}
    first, _ = validate_in_two(make_model, loader(folders), tmp_path, **sections)
    assert first['results'] == {'psnr': pytest.approx(np.mean(blurred_values(folders)), rel=1e-12)}
    with open(tmp_path / 'Photos.csv', newline='') as stream:
        assert [Path(row['image']).name for row in csv.DictReader(stream)] == ['000.png', '001.png', '002.png']


def test_damaged_image_of_one_process_is_named_by_both(make_model, write_pairs, tmp_path):
    folders = write_pairs(count=4)
    (folders.lq / '001.png').write_bytes((folders.lq / '001.png').read_bytes()[:-20])
    found = validate_in_two(make_model, loader(folders), tmp_path)
    assert found[0]['process'] != found[1]['process']
    assert found[0]['message'] == found[1]['message']
    assert '001.png: the image is damaged' in found[0]['message']


def test_restored_images_have_the_depth_of_the_data_set(make_model, write_pairs, tmp_path):
    folders = write_pairs(count=1)
    for folder in folders:
        for file in folder.iterdir():
            cv2.imwrite(str(file), cv2.imread(str(file)).astype(np.uint16) * 257 + 1)
    options = {'name': 'x', 'is_train': False, 'path': {'visualization': str(tmp_path / 'visualization')}}
    evaluator = Evaluator(lambda batch: Restored(batch['lq']), options)
    evaluator.evaluate(loader(folders, bit_depth=16), GracefulStop(), save_images=True)
    (saved,) = tmp_path.rglob('000_x.png')
    np.testing.assert_array_equal(cv2.imread(str(saved), -1), cv2.imread(str(folders.lq / '000.png'), -1))
