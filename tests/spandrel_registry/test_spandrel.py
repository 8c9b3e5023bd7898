"""Our networks in spandrel's loader, and spandrel's networks in ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network
from safetensors.torch import save_file

from deeprftv2_arch.archs import ATD, ATDFKE, DeepRFTv2, Pretrained
from deeprftv2_arch.checkpoints import to_published
from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.restoration.network import load_network
from deeprftv2_arch.utils.errors import UserError

spandrel = pytest.importorskip('spandrel', reason="spandrel is not installed: pip install '.[spandrel]'")

from spandrel.architectures.NAFNet import NAFNet  # noqa: E402
from spandrel.architectures.SwinIR import SwinIR  # noqa: E402

from deeprftv2_arch.spandrel import install  # noqa: E402

DEBLUR = {'width': 8, 'num_blocks': [1, 2], 'block_types': [['naf', 'nafevs'], ['naf', 'naf']], 'num_columns': 2}
SR = {
    'upscale': 2,
    'width': 8,
    'depths': [3, 2],
    'heads': 2,
    'window': 4,
    'group': 128,
    'tokens': 5,
    'code_channels': 3,
}


@pytest.fixture
def loader():
    """A loader with a registry of its own: the one of the process stays as it is."""
    registry = spandrel.MAIN_REGISTRY.copy()
    install(registry)
    install(registry)
    return spandrel.ModelLoader(registry=registry)


def network(kind: type, options: dict) -> torch.nn.Module:
    torch.manual_seed(0)
    return kind(**options).eval()


@pytest.mark.parametrize('names', ['ours', 'published'])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize(
    ('kind', 'options', 'architecture', 'scale'),
    [(DeepRFTv2, DEBLUR, 'DeepRFTv2', 1), (ATDFKE, SR, 'ATD+FKE', 2), (ATD, SR, 'ATD', 2)],
)
def test_our_networks_in_spandrel(tmp_path, loader, names, suffix, kind, options, architecture, scale):
    net = network(kind, options)
    weights = net.state_dict() if names == 'ours' else to_published(net.state_dict())
    path = tmp_path / f'net.{suffix}'
    if suffix == 'pth':
        torch.save({'params': weights}, path)
    else:
        save_file({key: value.contiguous().clone() for key, value in weights.items()}, path)
    model = loader.load_from_file(path)
    assert (model.architecture.name, model.scale, model.input_channels) == (architecture, scale, 3)
    if kind is ATD and names == 'published':
        assert type(model.model).__module__.startswith('spandrel.')
        return
    assert type(model.model) is kind
    for size in ((33, 47), (1, 1), (64, 64)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            expected = net(image).clamp(0, 1)
        torch.testing.assert_close(model(image), expected)


def test_files_with_options_in_half_precision(tmp_path, loader):
    net = network(DeepRFTv2, DEBLUR)
    path = save_network_file(tmp_path / 'net.safetensors', 'DeepRFTv2', DEBLUR, net.state_dict())
    model = loader.load_from_file(path)
    assert model.dtype == torch.float32
    assert model.tiling == spandrel.ModelTiling.DISCOURAGED
    with pytest.raises(Exception, match='half precision'):
        model.half()


def test_others_are_recognized_as_before(tmp_path, loader):
    path = nafnet_file(tmp_path)
    assert loader.load_from_file(path).architecture.id == 'NAFNet'


def nafnet_file(folder: Path) -> Path:
    torch.manual_seed(0)
    net = NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save({'params': net.state_dict()}, folder / 'nafnet.pth')
    return folder / 'nafnet.pth'


def test_pretrained_is_the_network_of_the_file(tmp_path):
    path = nafnet_file(tmp_path)
    expected = spandrel.ModelLoader().load_from_file(path)
    net = build_network({'type': 'Pretrained', 'file': str(path)})
    for size in ((16, 20), (13, 7), (1, 1)):
        image = torch.rand(2, 3, *size)
        output = net(image)
        assert output.shape == image.shape
        torch.testing.assert_close(output.clamp(0, 1).detach(), expected(image))
    output.mean().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


def test_what_a_training_saves_of_it_is_read_by_spandrel_again(tmp_path):
    net = Pretrained(str(nafnet_file(tmp_path)))
    torch.save({'params': net.state_dict()}, tmp_path / 'net_g_latest.pth')
    again = spandrel.ModelLoader().load_from_file(tmp_path / 'net_g_latest.pth')
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(again(image), net(image).clamp(0, 1).detach())


def test_pretrained_with_an_estimator(tmp_path):
    options = {
        'type': 'WithFKE',
        'network': {'type': 'Pretrained', 'file': str(nafnet_file(tmp_path))},
        'after': 'netG.decoders.1',
        'width': 8,
        'identity_init': True,
    }
    net, plain = build_network(options), Pretrained(options['network']['file'])
    image = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(net(image), plain(image))
    assert any('.fke.' in key for key in net.state_dict())


def test_networks_that_take_certain_sizes(tmp_path):
    net = SwinIR(
        img_size=16, window_size=8, depths=[1], num_heads=[2], embed_dim=8, upscale=2, upsampler='pixelshuffledirect'
    )
    torch.save({'params': net.state_dict()}, tmp_path / 'swinir.pth')
    pretrained = Pretrained(str(tmp_path / 'swinir.pth'))
    assert pretrained.upscale == 2
    assert pretrained(torch.rand(1, 3, 19, 5)).shape == (1, 3, 38, 10)


def test_it_is_built_without_memory_where_arguments_are_looked_at(tmp_path):
    path = nafnet_file(tmp_path)
    with torch.device('meta'):
        net = Pretrained(str(path))
    assert {parameter.device.type for parameter in net.parameters()} == {'meta'}


def test_restorer_takes_any_of_them(tmp_path):
    loaded = load_network(nafnet_file(tmp_path))
    assert (loaded.name, loaded.scale) == ('NAFNet', 1)
    expected = spandrel.ModelLoader().load_from_file(tmp_path / 'nafnet.pth')
    image = torch.rand(1, 3, 30, 17)
    torch.testing.assert_close(loaded(image).clamp(0, 1), expected(image))


class Malicious:
    def __reduce__(self):
        return print, ('code was run',)


def test_files_that_cannot_be_used(tmp_path, capsys):
    def complaint(content: object) -> str:
        torch.save(content, tmp_path / 'net.pth')
        with pytest.raises(UserError) as error:
            Pretrained(str(tmp_path / 'net.pth'))
        assert '\n' not in str(error.value)
        return str(error.value)

    assert 'no network that spandrel' in complaint({'params': {'conv.weight': torch.ones(3, 3)}})
    assert 'Python objects beside tensors' in complaint({'params': Malicious()})
    state = torch.load(nafnet_file(tmp_path))['params']
    state['intro.weight'] = torch.ones(2, 2)
    assert 'no network that spandrel' in complaint({'params': state})
    (tmp_path / 'text.pth').write_text('a letter')
    with pytest.raises(UserError, match='is not a checkpoint'):
        Pretrained(str(tmp_path / 'text.pth'))
    with pytest.raises(UserError, match='There is no checkpoint'):
        Pretrained(str(tmp_path / 'gone.pth'))
    assert 'code was run' not in capsys.readouterr().out


def test_spandrel_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'spandrel', None)
    with pytest.raises(UserError, match=r"pip install 'deeprftv2_arch\[spandrel\]'"):
        Pretrained(str(nafnet_file(tmp_path)))
