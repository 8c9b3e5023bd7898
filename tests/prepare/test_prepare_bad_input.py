"""What is wrong with a download or an argument is named, explained and refused, and nothing is left half done."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from prepare.miniatures import (
    COUNTS,
    build_dpdd_flat,
    build_dpdd_original,
    build_gopro_flat,
    build_gopro_original,
    build_hide_original,
    build_realblur_original,
    build_reds_original,
    frame,
    save,
)
from processes import ROOT, error_lines, python, variables

from deeprftv2_arch.cli.prepare import main
from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.utils.errors import UserError

BUILDERS = {
    'gopro': build_gopro_original,
    'gopro flat': build_gopro_flat,
    'hide': build_hide_original,
    'realblur_j': build_realblur_original,
    'reds': build_reds_original,
    'dpdd': build_dpdd_original,
    'dpdd flat': build_dpdd_flat,
}
SEQUENCE = 'train/GOPR0372_07_00'
HIDE = 'HIDE_dataset/test'
SCENE = 'RealBlur-J_ECC_IMCORR_centroid_itensity_ref/scene001'


def remove(name):
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def rename(name, other):
    return lambda root: (root / name).rename(root / other)


def truncate(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-30])


def write(name, text):
    return lambda root: (root / name).write_text(text)


def resize(name, size):
    return lambda root: save(root / name, cv2.resize(cv2.imread(str(root / name), cv2.IMREAD_UNCHANGED), size))


def deepen(name):
    return lambda root: save(root / name, cv2.imread(str(root / name)).astype(np.uint16) * 257)


def copy(name, other):
    return lambda root: shutil.copy(root / name, root / other)


def gamma_only(root):
    for folder in root.glob('*/*/blur'):
        shutil.rmtree(folder)


def without_jpeg(root):
    for part in ('train', 'val'):
        (root / part / f'{part}_blur_jpeg').rename(root / part / f'{part}_blur')


def shift_targets(root):
    folder = root / 'train_c' / 'target'
    files = sorted(folder.iterdir())
    images = [file.read_bytes() for file in files]
    for file, image in zip(files, images[1:] + images[:1], strict=True):
        file.write_bytes(image)


BROKEN = {
    'wrong layout': (
        'gopro',
        lambda root: shutil.rmtree(root / 'train'),
        r'no train part of GoPro found.*there is test',
    ),
    'count': ('gopro', remove(f'{SEQUENCE}'), r'found 3 in train, where there should be 6.*--allow-incomplete'),
    'one half of a pair': ('gopro', remove(f'{SEQUENCE}/sharp/000048.png'), r'1 images have no partner.*blur/000048'),
    'sizes in a pair': ('gopro', resize(f'{SEQUENCE}/blur/000048.png', (60, 40)), r'differ in size: .*blur/000048.png'),
    'truncated': ('gopro', truncate(f'{SEQUENCE}/sharp/000048.png'), r'sharp/000048.png: the image is damaged'),
    'empty': ('gopro', write(f'{SEQUENCE}/sharp/000048.png', ''), r'sharp/000048.png: the image is empty'),
    'not an image': ('gopro', write(f'{SEQUENCE}/sharp/000048.png', 'x'), r'sharp/000048.png: OpenCV cannot decode'),
    '16 bit': ('gopro', deepen(f'{SEQUENCE}/blur/000048.png'), r'000048.png: has 16 bits per channel, expected 8'),
    'gamma only': ('gopro', gamma_only, r'GOPR0372_07_00 has blur_gamma and no blur'),
    'sequence without blur': (
        'gopro',
        lambda root: [shutil.rmtree(root / SEQUENCE / name) for name in ('blur', 'blur_gamma')],
        r'GOPR0372_07_00 has no folder blur',
    ),
    'two flat copies': (
        'gopro flat',
        lambda root: shutil.copytree(root / 'test', root / 'test' / 'GoPro'),
        r'several folders could be the test part',
    ),
    'same stem twice': (
        'gopro flat',
        copy('test/input/GOPR0384_11_00-000047.png', 'test/input/GOPR0384_11_00-000047.bmp'),
        r'000047.bmp and .*000047.png would both become GOPR0384_11_00-000047',
    ),
    'half of HIDE': ('hide', remove('HIDE_dataset/test/test-long-shot'), r'no folder test-long-shot'),
    'HIDE without GT': ('hide', remove('HIDE_dataset/GT/7fromGOPR1089.png'), r'GT lacks 1 sharp images \(7from'),
    'HIDE twice': (
        'hide',
        copy(
            'HIDE_dataset/test/test-long-shot/7fromGOPR1089.png', 'HIDE_dataset/test/test-close-ups/7fromGOPR1089.png'
        ),
        r'would both become 7fromGOPR1089',
    ),
    'no list': ('realblur_j', remove('RealBlur_J_test_list.txt'), r'no RealBlur_J_test_list.txt.*--lists'),
    'listed but missing': ('realblur_j', remove(f'{SCENE}/blur/blur_2.png'), r'train_list.txt names 1 images.*blur_2'),
    'list of one column': (
        'realblur_j',
        write('RealBlur_J_test_list.txt', 'gt_1.png\n'),
        r"list.txt, line 1: expected a sharp and a blurred image, got 'gt_1.png'",
    ),
    'listed twice': (
        'realblur_j',
        write('RealBlur_J_test_list.txt', f'{SCENE}/gt/gt_1.png {SCENE}/blur/blur_1.png \n' * 2),
        r'test_list.txt names scene001_1 twice',
    ),
    'REDS without JPEG': ('reds', without_jpeg, r'has train_blur and no train_blur_jpeg'),
    'clip missing': ('reds', remove('train/train_sharp/001'), r'20 images have no partner'),
    'order of DPDD': (
        'dpdd',
        shift_targets,
        r'4 of 4 pairs of train do not fit: the blurred train/1P0A0890 ',
    ),
    'number of DPDD': ('dpdd', remove('val_c/target/1P0A0993.png'), r'source holds 4 images, .*target 3'),
}


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('case', BROKEN)
def test_a_faulty_download_is_refused(case, prepare, contents, tmp_path):
    kind, damage, message = BROKEN[case]
    source = BUILDERS[kind](tmp_path / 'source')
    damage(source)
    before = contents(source)
    with pytest.raises(UserError, match=rf'(?s){message}'):
        prepare(kind.split()[0], source)
    assert contents(source) == before
    manifest = tmp_path / 'out' / 'manifest.json'
    assert not manifest.exists() or '"complete": false' in manifest.read_text()


@pytest.mark.usefixtures('small_sets')
def test_every_faulty_file_is_named_at_once(prepare, tmp_path):
    source = build_gopro_original(tmp_path / 'source')
    for number in (47, 49):
        truncate(f'{SEQUENCE}/blur/{number:06}.png')(source)
    with pytest.raises(UserError, match=r'2 of 9 items cannot be used') as caught:
        prepare('gopro', source)
    assert '000047' in str(caught.value)
    assert '000049' in str(caught.value)


@pytest.mark.usefixtures('small_sets')
def test_allow_incomplete_leaves_out_and_says_so(prepare, tmp_path):
    source = build_gopro_original(tmp_path / 'source')
    truncate(f'{SEQUENCE}/blur/000047.png')(source)
    out = prepare('gopro', source, '--allow-incomplete')
    assert len(list((out / 'train' / 'sharp').iterdir())) == 5
    text = (out / 'manifest.json').read_text()
    assert '"image": "train/GOPR0372_07_00-000047"' in text
    assert 'the image is damaged' in text


def test_the_known_size_is_asked_for(prepare, tmp_path, monkeypatch):
    monkeypatch.setitem(KNOWN_SETS, 'gopro', KNOWN_SETS['gopro']._replace(images=COUNTS['gopro']))
    with pytest.raises(UserError, match=r'64 x 48 pixels, where all images of this set have 1280 x 720'):
        prepare('gopro', build_gopro_original(tmp_path / 'source'))


@pytest.mark.usefixtures('small_sets')
def test_files_of_others_in_the_output_are_not_touched(prepare, tmp_path):
    source = build_gopro_original(tmp_path / 'source')
    (tmp_path / 'out' / 'train').mkdir(parents=True)
    with pytest.raises(UserError, match=r'out/train exists and was not made by this command'):
        prepare('gopro', source)
    shutil.rmtree(tmp_path / 'out')
    prepare('gopro', source)
    save(tmp_path / 'out' / 'train' / 'blur' / 'mine.png', frame(0, 0)[0])
    with pytest.raises(UserError, match=r'train/blur holds 1 files that are not made of this source \(mine.png\)'):
        prepare('gopro', source)
    assert (tmp_path / 'out' / 'train' / 'blur' / 'mine.png').exists()
    with pytest.raises(UserError, match=r'holds the prepared set gopro, not hide'):
        prepare('hide', build_hide_original(tmp_path / 'hide'))


@pytest.mark.usefixtures('small_sets')
def test_the_output_may_not_lie_in_the_source(tmp_path):
    source = build_gopro_flat(tmp_path / 'source')
    for out in (source, source / 'prepared'):
        with pytest.raises(UserError, match=r'where nothing is to be changed'):
            main(['gopro', '--source', str(source), '--out', str(out), '--workers', '1'])
    source.rename(tmp_path / 'train')
    with pytest.raises(UserError, match=r'lies where --out .* puts its files'):
        main(['gopro', '--source', str(tmp_path / 'train'), '--out', str(tmp_path), '--workers', '1'])


ARGUMENTS = [
    (['hide', '--crops'], r'--crops: hide is used whole'),
    (['gopro', '--parts', 'val'], r'--parts val: gopro has train, test'),
    (['gopro', '--crops', '--parts', 'test'], r'only the train part is cut'),
    (['gopro', '--bit-depth', '16'], r'--bit-depth is for dpdd alone'),
    (['gopro', '--scales', '2'], r'--scales is for the super-resolution sets'),
    (['gopro', '--workers', '0'], r'--workers 0'),
    (['dpdd', '--link', 'hard'], r'--link: files of 16 bits are converted'),
    (['dpdd', '--indoor-list', 'nowhere.txt'], r'--indoor-list nowhere.txt: there is no such file'),
    (['dpdd', '--indoor-list', __file__, '--parts', 'val'], r'about the test part, which --parts leaves out'),
    (['div2k', '--parts', 'train'], r'--parts: div2k'),
    (['srbench', '--crops'], r'--crops is for the deblurring sets'),
    (['srbench', '--lmdb'], r'--lmdb: the test sets of super-resolution are small'),
]


@pytest.mark.parametrize(('arguments', 'message'), ARGUMENTS, ids=lambda value: ' '.join(value)[:30])
def test_arguments_that_do_not_fit_are_refused(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        main([*arguments, '--source', str(tmp_path), '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize(
    ('content', 'message'),
    [('1P0A1090\n99\n', "'99' is neither"), ('', 'nothing is neither'), ('7\n', 'a number from 1 to 4')],
)
def test_lists_of_scenes_must_fit(content, message, prepare, tmp_path):
    (tmp_path / 'indoor.txt').write_text(content)
    with pytest.raises(UserError, match=message):
        prepare('dpdd', build_dpdd_flat(tmp_path / 'source'), '--indoor-list', str(tmp_path / 'indoor.txt'))


def test_the_command_tells_mistakes_in_one_line_and_exits_with_2(tmp_path):
    command = ['-m', 'deeprftv2_arch', 'prepare', 'gopro', '--source', 'nowhere', '--out', 'out']
    done = python(*command, folder=tmp_path, path=[ROOT])
    assert done.returncode == 2
    expected = 'Error: --source nowhere: there is no such folder. Unpack the download and name its folder.'
    assert error_lines(done) == [expected]
    assert not (tmp_path / 'out').exists()


UNPAIRED = {
    'gopro': (f'{SEQUENCE}/blur/000047.png', 'train/000047'),
    'gopro flat': ('test/input/GOPR0384_11_00-000047.png', 'test/GOPR0384_11_00-000047'),
    'hide': ('HIDE_dataset/GT/7fromGOPR1089.png', 'test/7fromGOPR1089'),
}


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('kind', UNPAIRED)
def test_images_without_partner_are_left_out_of_an_incomplete_set(kind, prepare, tmp_path, capsys):
    removed, image = UNPAIRED[kind]
    source = BUILDERS[kind](tmp_path / 'source')
    remove(removed)(source)
    with pytest.raises(UserError, match=r'or add --allow-incomplete'):
        prepare(kind.split()[0], source)
    out = prepare(kind.split()[0], source, '--allow-incomplete')
    assert f'Left out {image}: ' in capsys.readouterr().out
    left_out = json.loads((out / 'manifest.json').read_text())['left_out']
    assert [entry['image'] for entry in left_out] == [image]


@pytest.mark.usefixtures('small_sets')
def test_damaged_images_that_are_left_out_are_named_at_the_end(prepare, tmp_path, capsys):
    source = build_gopro_original(tmp_path / 'source')
    truncate(f'{SEQUENCE}/blur/000047.png')(source)
    prepare('gopro', source, '--allow-incomplete')
    assert re.search(
        r'Left out train/GOPR0372_07_00-000047: .*000047\.png: the image is damaged', capsys.readouterr().out
    )


@pytest.mark.usefixtures('small_sets')
def test_folder_in_which_another_process_works_is_refused(prepare, tmp_path):
    source = build_gopro_original(tmp_path / 'source')
    code = 'import sys; from deeprftv2_arch.utils.run_lock import RunLock; RunLock(*sys.argv[1:]); input()'
    command = [sys.executable, '-c', code, str(tmp_path / 'out'), 'a preparation']
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=variables(), cwd=ROOT) as other:
        while not (tmp_path / '.out.lock').exists():
            assert other.poll() is None
            time.sleep(0.05)
        with pytest.raises(UserError, match=rf'out is in use. Process {other.pid} on .* does a preparation'):
            prepare('gopro', source, '--parts', 'test')
        assert not (tmp_path / 'out').exists()
        other.kill()
    prepare('gopro', source)  # the lock of a process that has ended holds nobody up
    assert not (tmp_path / '.out.lock').exists()


@pytest.mark.usefixtures('small_sets')
@pytest.mark.parametrize('numbers', ['1\n3\n', '1.0\n3.0\n', '1.000000000000000000e+00 3.000000000000000000e+00\n'])
def test_scenes_by_number_however_they_are_written(numbers, prepare, tmp_path):
    (tmp_path / 'indoor.txt').write_text(numbers, encoding='utf-8-sig')
    np.save(tmp_path / 'indoor.npy', np.array([[1.0, 3.0]]))
    for number, file in enumerate(('indoor.txt', 'indoor.npy')):
        source = build_dpdd_flat(tmp_path / f'source{number}')
        out = prepare('dpdd', source, '--indoor-list', str(tmp_path / file), out=f'out{number}')
        assert (out / 'test/indoor.txt').read_text().split() == ['1P0A1090', '1P0A1094']
