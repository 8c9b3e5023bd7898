"""X + FKE: the option snippets of the documentation, and what is wrong with options, in the user's words."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
import yaml

import deeprftv2_arch  # noqa: F401  # registers the names

# isort: split
from basicsr.archs import build_network

DOCUMENTATION = (Path(__file__).parents[2] / 'docs' / 'fke.md').read_text(encoding='utf-8')
SNIPPETS = {
    options['network_g']['network']['type']: options['network_g']
    for options in map(yaml.safe_load, re.findall(r'```yaml\n(network_g:.*?)```', DOCUMENTATION, re.DOTALL))
}
# The same networks, tiny.
SMALLER = {
    'EDSR': {'num_feat': 8, 'num_block': 1},
    'SwinIR': {'img_size': 8, 'embed_dim': 8, 'depths': [1], 'num_heads': [2], 'window_size': 4},
}


def small(kind: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    snippet = copy.deepcopy(SNIPPETS[kind])
    snippet['network'].update(SMALLER[kind])
    return build_network({**snippet, **options})


def test_both_networks_are_shown() -> None:
    assert SNIPPETS.keys() == SMALLER.keys()


def test_the_example_of_the_documentation_runs() -> None:
    (example,) = re.findall(r'```python\n(.*?)```', DOCUMENTATION, re.DOTALL)
    exec(example, {})


@pytest.mark.parametrize('kind', SMALLER)
@pytest.mark.parametrize('resi_connection', ['1conv', '3conv'])
def test_every_parameter_has_a_gradient(kind: str, resi_connection: str) -> None:
    options = {**SNIPPETS[kind]['network'], **SMALLER[kind]}
    if kind == 'SwinIR':
        options['resi_connection'] = resi_connection  # 3conv: a Sequential
    net = small(kind, network=options, fke_window=None)
    for height, width in ((8, 8), (12, 8)):
        upscaled = net(torch.rand(2, 3, height, width))
        assert upscaled.shape == (2, 3, 4 * height, 4 * width)
    upscaled.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    silent = {name for name, parameter in net.named_parameters() if not parameter.grad.any()}
    # The scalings of a first estimator have no old value to scale.
    assert all('.scalings.' in name for name in silent)


@pytest.mark.parametrize('kind', SMALLER)
def test_the_estimator_works_on_what_the_part_returns(kind: str) -> None:
    net, seen = small(kind).eval(), {}
    part = net.conv_after_body
    part.fke.register_forward_hook(
        lambda module, inputs, output: seen.update(feature=inputs[0].clone(), estimated=output.clone())
    )
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        upscaled = net(x)
        assert torch.equal(seen['estimated'], part.fke.estimator(seen['feature']).feature)
        plain = build_network({**SNIPPETS[kind]['network'], **SMALLER[kind]}).eval()
        plain.load_state_dict({key: value for key, value in net.state_dict().items() if '.fke.' not in key})
        assert not torch.allclose(plain(x), upscaled)


@pytest.mark.parametrize('kind', SMALLER)
@torch.no_grad()
def test_started_as_the_identity_it_is_the_network_without_it(kind: str) -> None:
    net = small(kind, identity_init=True).eval()
    plain = build_network({**SNIPPETS[kind]['network'], **SMALLER[kind]}).eval()
    # The keys are the network's own, beside those of the estimator.
    weights = net.state_dict()
    assert {key for key in weights if '.fke.' not in key} == plain.state_dict().keys()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(net(x), plain(x))


@pytest.mark.parametrize('kind', SMALLER)
@torch.no_grad()
def test_a_checkpoint_and_a_copy_restore_the_same_network(kind: str, tmp_path: Path) -> None:
    net, other, x = small(kind).eval(), small(kind).eval(), torch.rand(1, 3, 8, 8)
    for parameter in net.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    assert not torch.allclose(net(x), other(x))
    other.load_state_dict(torch.load(tmp_path / 'net.pth'))
    assert torch.equal(net(x), other(x))
    # A copy has an estimator of its own.
    copied = copy.deepcopy(net)
    copied.conv_after_body.fke.estimator.convolution.fuse.weight.zero_()
    assert not torch.allclose(net(x), copied(x))
    assert torch.equal(net(x), other(x))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'after': 'conv_after_bdy'}, "no part 'conv_after_bdy'.*did you mean 'conv_after_body'.*conv_first, body"),
        ({'after': ''}, "no part ''"),
        ({'network': {'type': 'EDSRR'}}, "no network 'EDSRR' to build.*did you mean 'EDSR'"),
        ({'network': {}}, 'no network None'),
        ({'after': 'body.0.relu'}, 'Set width'),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small('EDSR', **options)


def test_parts_that_return_no_maps_of_the_width_are_named() -> None:
    with pytest.raises(ValueError, match=r'layers is a list of parts of SwinIR'):
        small('SwinIR', after='layers')
    for options, message in (
        ({'after': 'patch_embed', 'width': 8}, r'patch_embed returns \(1, 64, 8\).*needs maps \(N, 8, H, W\)'),
        ({'width': 4}, r'conv_after_body returns \(1, 8, 8, 8\).*needs maps \(N, 4, H, W\)'),
    ):
        with pytest.raises(ValueError, match=message):
            small('SwinIR', **options)(torch.rand(1, 3, 8, 8))
