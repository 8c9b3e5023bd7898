"""What the options of a network say about its images, and what model classes find in those of a wrapped one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from basicsr.archs import build_network

from deeprftv2_arch.config.load import read_checked
from deeprftv2_arch.config.network_options import image_channels, unwrap, window
from deeprftv2_arch.config.problems import OptionsError

SWINIR = {'type': 'SwinIR', 'img_size': 8, 'embed_dim': 8, 'depths': [1], 'num_heads': [2], 'window_size': 4}


def test_arguments_of_a_wrapped_network_are_found_and_not_handed_on():
    options: dict[str, Any] = {
        'name': 'x',
        'network_g': {'type': 'WithFKE', 'after': 'conv_after_body', 'network': {**SWINIR, 'in_chans': 1}},
        'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3},
    }
    before = copy.deepcopy(options)
    unwrap(options)
    section = copy.deepcopy(options)['network_g']
    assert options == before
    assert (section['window_size'], section.get('window_size'), section.get('nothing', 5)) == (4, 4, 5)
    assert (window(section), window(before['network_g']), window(options['network_d'])) == (4, 4, 1)
    assert (image_channels(section), image_channels({})) == (1, 3)
    with pytest.raises(KeyError, match='nothing'):
        section['nothing']
    assert build_network(section).conv_after_body.fke


@pytest.mark.parametrize(
    ('channels', 'data', 'says'),
    [
        (
            1,
            {},
            'have 3 channels. Write 3, or take another data set. For one channel: type: PairedImage',
        ),
        (1, {'type': 'PairedImageDataset'}, 'num_in_ch: 1, but the images of datasets.train have 3 channels.'),
        (
            3,
            {'type': 'PairedImageDataset', 'color': 'y'},
            '3, but the images of datasets.train have 1 channels.',
        ),
        (1, {'type': 'PairedImageDataset', 'color': 'y'}, ''),
        (3, {}, ''),
    ],
)
def test_channels_of_network_and_data(channels, data, says, training_options, write_pairs, tmp_path):
    options = training_options(write_pairs())
    options['network_g'] |= {'num_in_ch': channels, 'num_out_ch': channels}
    options['scale'] = 1
    for section in options['datasets'].values():
        section |= data
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
    if not says:
        read_checked(tmp_path / 'run.yml', is_train=True)
        return
    with pytest.raises(OptionsError) as raised:
        read_checked(tmp_path / 'run.yml', is_train=True)
    assert says in str(raised.value)
