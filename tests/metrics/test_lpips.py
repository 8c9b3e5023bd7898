"""LPIPS against the package's own way to load it, with a stand-in for the weights that torchvision would download."""

from __future__ import annotations

import sys
import urllib.error
import warnings

import pytest
import torch
from basicsr.metrics import calculate_metric
from torchvision.models import alexnet

from deeprftv2_arch.metrics import lpips_alex
from deeprftv2_arch.metrics.lpips_alex import load_network
from deeprftv2_arch.utils.errors import UserError

lpips = pytest.importorskip('lpips', reason='the extra [lpips] is not installed')


@pytest.fixture(scope='module')
def hub(tmp_path_factory):
    """A cache of torchvision with a random AlexNet. Its layers for classes are views of one number: a small file."""
    folder = tmp_path_factory.mktemp('hub')
    torch.manual_seed(0)
    with torch.device('meta'):
        shapes = {key: value.shape for key, value in alexnet().state_dict().items()}
    weights = {
        key: torch.randn(shape) / shape[1:].numel() ** 0.5
        if key.startswith('features')
        else torch.zeros(()).expand(shape)
        for key, shape in shapes.items()
    }
    (folder / 'checkpoints').mkdir()
    torch.save(weights, folder / 'checkpoints' / 'alexnet-owt-7be5be79.pth')
    return folder


@pytest.fixture(autouse=True)
def own_cache(hub, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(hub))
    load_network.cache_clear()
    yield
    load_network.cache_clear()


def test_distance_is_that_of_the_package(hub, photographs, as_unit):
    restored, sharp = photographs
    with warnings.catch_warnings(action='ignore'):
        theirs = lpips.LPIPS(net='alex', verbose=False)
    x, y = (torch.from_numpy(as_unit(image)).float().permute(2, 0, 1)[None] * 2 - 1 for image in photographs)
    with torch.no_grad():
        expected = theirs(x, y).item()
    assert expected > 0.01
    assert lpips_alex(as_unit(restored), as_unit(sharp)) == pytest.approx(expected, rel=1e-5)
    options = {'type': 'calculate_lpips', 'better': 'lower'}
    data = {'img': restored, 'img2': sharp}
    assert calculate_metric(data, options) == pytest.approx(expected, rel=1e-5)
    trunk = str(hub / 'checkpoints' / 'alexnet-owt-7be5be79.pth')
    assert calculate_metric(data, {**options, 'trunk': trunk}) == pytest.approx(expected, rel=1e-5)
    assert calculate_metric({'img': sharp, 'img2': sharp}, options) == 0
    # Channels in the wrong order would be seen.
    assert lpips_alex(as_unit(restored)[..., ::-1], as_unit(sharp)[..., ::-1]) != pytest.approx(expected, rel=1e-3)


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch, photographs):
    def offline(*_args, **_options):
        raise urllib.error.URLError('no route to host')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'urlopen', offline)
    with pytest.raises(
        UserError, match=r'no route to host.*alexnet-owt-7be5be79\.pth.*copy it to .*checkpoints.*trunk: FILE'
    ):
        calculate_metric(dict(zip(('img', 'img2'), photographs, strict=True)), {'type': 'calculate_lpips'})


def test_file_of_something_else_is_refused(tmp_path, photographs, as_unit):
    file = tmp_path / 'resnet.pth'
    torch.save({'conv1.weight': torch.zeros(64, 3, 7, 7)}, file)
    with pytest.raises(UserError, match='holds no weights of AlexNet'):
        lpips_alex(*map(as_unit, photographs), trunk=file)
    with pytest.raises(UserError, match='There is no checkpoint'):
        lpips_alex(*map(as_unit, photographs), trunk=tmp_path / 'none.pth')


def test_weights_that_are_not_the_published_ones_are_told(hub, photographs, as_unit, caplog):
    lpips_alex(*map(as_unit, photographs), trunk=hub / 'checkpoints' / 'alexnet-owt-7be5be79.pth')
    assert 'values cannot be compared' in caplog.text


def test_without_the_package_the_message_names_it(monkeypatch, photographs, as_unit):
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(UserError, match=r"pip install 'lpips>=0\.1\.4'"):
        lpips_alex(*map(as_unit, photographs))
