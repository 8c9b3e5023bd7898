"""Pairs by stem, by list and by LMDB key, and every way in which they can fail to match."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from basicsr.data.data_util import paired_paths_from_folder, paired_paths_from_meta_info_file

from deeprftv2_arch.data.pairing import pair_folders, pair_list
from deeprftv2_arch.utils.errors import UserError


def touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def names(pairs) -> list[tuple[str, str]]:
    return [(Path(pair.lq).name, Path(pair.gt).name) for pair in pairs]


def test_equals_the_basicsr_where_the_basicsr_can_pair(tmp_path):
    files = [f'GOPR0384_11_00-{index:06}.png' for index in range(20)]
    gt, lq = touch(tmp_path / 'gt', *files), touch(tmp_path / 'lq', *files)
    theirs = paired_paths_from_folder([lq, gt], ['lq', 'gt'], '{}')
    assert [pair._asdict() for pair in pair_folders(gt, lq)] == sorted(
        ({'lq': pair['lq_path'], 'gt': pair['gt_path']} for pair in theirs), key=lambda pair: pair['gt']
    )


def test_extensions_may_differ_and_order_is_by_name(tmp_path):
    gt = touch(tmp_path / 'gt', 'b.png', 'a.b.png', 'c.PNG', '.hidden.png')
    lq = touch(tmp_path / 'lq', 'c.jpg', 'b.JPEG', 'a.b.tiff')
    assert names(pair_folders(gt, lq)) == [('a.b.tiff', 'a.b.png'), ('b.JPEG', 'b.png'), ('c.jpg', 'c.PNG')]


def test_template_names_the_blurred_image(tmp_path):
    gt, lq = touch(tmp_path / 'gt', 'a.png', 'b.png'), touch(tmp_path / 'lq', 'a_blur.png', 'b_blur.png')
    assert names(pair_folders(gt, lq, template='{}_blur')) == [('a_blur.png', 'a.png'), ('b_blur.png', 'b.png')]


def test_sub_folders_are_part_of_the_name(tmp_path):
    files = ['000/0.png', '000/1.png', '001/0.png']
    gt, lq = touch(tmp_path / 'gt', *files), touch(tmp_path / 'lq', *(file.replace('png', 'jpg') for file in files))
    pairs = pair_folders(gt, lq, recursive=True)
    assert [Path(pair.gt).relative_to(gt).as_posix() for pair in pairs] == files
    assert all(Path(p.lq).relative_to(lq).with_suffix('') == Path(p.gt).relative_to(gt).with_suffix('') for p in pairs)
    with pytest.raises(UserError, match='recursive: true'):
        pair_folders(gt, lq)


def test_images_without_partner_are_named(tmp_path):
    gt = touch(tmp_path / 'gt', 'both.png', 'only_sharp.png')
    lq = touch(tmp_path / 'lq', 'both.png', *(f'only_blurred_{index}.png' for index in range(5)))
    with pytest.raises(UserError) as caught:
        pair_folders(gt, lq)
    message = str(caught.value)
    assert f'1 sharp without partner in {lq} ({gt}/only_sharp.png)' in message
    assert f'5 blurred without partner in {gt} ({lq}/only_blurred_0.png' in message
    assert 'only_blurred_3' not in message


def test_two_images_of_one_stem_are_ambiguous(tmp_path):
    gt, lq = touch(tmp_path / 'gt', 'a.png', 'a.jpg'), touch(tmp_path / 'lq', 'a.png')
    with pytest.raises(UserError, match=r'a\.(png|jpg).*differ only in extension'):
        pair_folders(gt, lq)


def test_missing_and_empty_folders_are_named(tmp_path):
    full = touch(tmp_path / 'full', 'a.png')
    with pytest.raises(UserError, match=r'dataroot_gt.*nowhere'):
        pair_folders(str(tmp_path / 'nowhere'), full)
    with pytest.raises(UserError, match=r'dataroot_lq.*text_only holds no images'):
        pair_folders(full, touch(tmp_path / 'text_only', 'readme.txt'))
    with pytest.raises(UserError, match=r'io_backend\.type: lmdb'):
        pair_folders(full, touch(tmp_path / 'database', 'data.mdb', 'meta_info.txt'))


def test_other_files_are_left_out_aloud(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('logging.Logger.warning', lambda _, message: said.append(message))
    gt, lq = touch(tmp_path / 'gt', 'a.png', 'notes.txt'), touch(tmp_path / 'lq', 'a.png')
    assert len(pair_folders(gt, lq)) == 1
    assert len(said) == 1
    assert 'notes.txt' in said[0]


def test_list_with_one_name_equals_basicsr(tmp_path):
    files = ['0001_s001.png', '0001_s002.png']
    gt, lq = touch(tmp_path / 'gt', *files), touch(tmp_path / 'lq', '0001_s001x.png', '0001_s002x.png')
    listed = tmp_path / 'list.txt'
    listed.write_text('0001_s002.png (480,480,3)\n\n0001_s001.png (480,480,3)\n')
    ours = pair_list(gt, lq, str(listed), template='{}x')
    listed.write_text('0001_s002.png (480,480,3)\n0001_s001.png (480,480,3)\n')
    theirs = paired_paths_from_meta_info_file([lq, gt], ['lq', 'gt'], str(listed), '{}x')
    assert [pair._asdict() for pair in ours] == [{'lq': p['lq_path'], 'gt': p['gt_path']} for p in theirs]


def test_list_with_two_names_in_the_form_of_realblur(tmp_path):
    root = touch(tmp_path / 'RealBlur', 'J/scene001/gt/gt_1.png', 'J/scene001/blur/blur_1.png')
    listed = tmp_path / 'list.txt'
    listed.write_text('J/scene001/gt/gt_1.png J/scene001/blur/blur_1.png ')
    assert names(pair_list(root, root, str(listed))) == [('blur_1.png', 'gt_1.png')]


def test_faults_of_a_list_are_named(tmp_path):
    root, listed = touch(tmp_path / 'images', 'a.png'), tmp_path / 'list.txt'
    for text, message in [
        ('a.png\nmissing.png\n', r'lists 2 images that do not exist.*missing\.png'),
        ('x.png y.png z.png\n', "line 1: expected one or two names, got 'x.png y.png z.png'"),
        ('\n', 'lists nothing'),
    ]:
        listed.write_text(text)
        with pytest.raises(UserError, match=message):
            pair_list(root, root, str(listed))
    with pytest.raises(UserError, match=r'meta_info_file.*absent\.txt'):
        pair_list(root, root, str(tmp_path / 'absent.txt'))


def test_pairs_the_whole_of_reds(tmp_path):
    files = [f'{clip:03}_{frame:08}' for clip in range(240) for frame in range(100)]
    gt = touch(tmp_path / 'gt', *(f'{file}.png' for file in files))
    lq = touch(tmp_path / 'lq', *(f'{file}.jpg' for file in files))
    start = time.perf_counter()
    pairs = pair_folders(gt, lq)
    print(f'{len(pairs):,} pairs in {time.perf_counter() - start:.2f} s')
    assert [Path(pair.gt).stem for pair in pairs] == [Path(pair.lq).stem for pair in pairs] == files


@pytest.mark.parametrize(
    'content',
    [
        b'\xef\xbb\xbfa.png\r\nb.png\r\n',
        '\ufeffa.png\r\nb.png\r\n'.encode('utf-16-le'),
        '\ufeffa.png\nb.png\n'.encode('utf-16-be'),
    ],
    ids=['notepad', 'powershell', 'big-endian'],
)
def test_byte_order_marks_are_no_part_of_a_name(tmp_path, content):
    gt, lq = touch(tmp_path / 'gt', 'a.png', 'b.png'), touch(tmp_path / 'lq', 'a.png', 'b.png')
    (tmp_path / 'list.txt').write_bytes(content)
    assert names(pair_list(gt, lq, str(tmp_path / 'list.txt'))) == [('a.png', 'a.png'), ('b.png', 'b.png')]


def test_list_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    gt, lq = touch(tmp_path / 'gt', 'a.png'), touch(tmp_path / 'lq', 'a.png')
    (tmp_path / 'list.txt').write_text('a.png\n')
    assert names(pair_list(gt, lq, '~/list.txt')) == [('a.png', 'a.png')]


def test_names_in_a_list_may_have_blanks(tmp_path):
    gt = touch(tmp_path / 'gt', 'my pic.png', 'my other pic.png', 'plain.png', 'a.png')
    lq = touch(tmp_path / 'lq', 'my pic.png', 'its blur.png', 'plain.png', 'b c.png')
    lines = ['my pic.png', 'my pic.png (48,64,3)', 'my other pic.png its blur.png', 'plain.png', 'a.png\tb c.png']
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    assert names(pair_list(gt, lq, str(tmp_path / 'list.txt'))) == [
        ('my pic.png', 'my pic.png'),
        ('my pic.png', 'my pic.png'),
        ('its blur.png', 'my other pic.png'),
        ('plain.png', 'plain.png'),
        ('b c.png', 'a.png'),
    ]


def test_name_with_blanks_that_is_missing_in_one_folder_is_told_whole(tmp_path):
    gt, lq = touch(tmp_path / 'gt', 'my own pic.png'), touch(tmp_path / 'lq', 'other.png')
    (tmp_path / 'list.txt').write_text('my own pic.png')
    with pytest.raises(UserError, match=r'lists 1 images that do not exist \(\S+lq/my own pic\.png\)'):
        pair_list(gt, lq, str(tmp_path / 'list.txt'))


def test_line_of_two_readings_is_refused(tmp_path):
    gt, lq = touch(tmp_path / 'gt', 'a', 'a b'), touch(tmp_path / 'lq', 'b c', 'c')
    (tmp_path / 'list.txt').write_text('a b c')
    with pytest.raises(UserError, match=r'list.txt, line 1: .* read in two ways.*Put a tab'):
        pair_list(gt, lq, str(tmp_path / 'list.txt'))


def test_loops_of_symbolic_links_end(tmp_path):
    for root in ('gt', 'lq'):
        touch(tmp_path / root, 'a/1.png', 'b/2.png')
        (tmp_path / root / 'a' / 'up').symlink_to('..')
        (tmp_path / root / 'a' / 'across').symlink_to('../b')
        (tmp_path / root / 'b' / 'back').symlink_to('../a')
    pairs = pair_folders(str(tmp_path / 'gt'), str(tmp_path / 'lq'), recursive=True)
    found = [Path(pair.gt).relative_to(tmp_path / 'gt').as_posix() for pair in pairs]
    assert found == ['a/1.png', 'a/across/2.png', 'b/2.png', 'b/back/1.png']
