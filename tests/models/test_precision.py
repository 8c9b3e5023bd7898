"""Options for precision, memory layout and compilation, as the model follows them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.models.precision import Precision, compile_network
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.utils.errors import UserError


def test_training_and_validation_have_a_precision_each(make_model, batch, train_for) -> None:
    model = make_model(train={'amp': 'bfloat16'}, val={'metrics': {}})
    seen: list[tuple[bool, torch.dtype]] = []
    model.net_g.fine.register_forward_hook(lambda module, _, output: seen.append((module.training, output.dtype)))
    train_for(model, batch, range(1, 3))
    assert {parameter.dtype for parameter in model.net_g.parameters()} == {torch.float32}
    assert model.output.dtype == torch.float32
    model.test()
    assert seen == [(True, torch.bfloat16)] * 2 + [(False, torch.float32)]
    model = make_model(is_train=False, val={'amp': 'bfloat16'})
    model.net_g.fine.register_forward_hook(lambda module, _, output: seen.append((module.training, output.dtype)))
    model.feed_data(batch)
    model.test()
    assert seen[-1] == (False, torch.bfloat16)
    assert model.output.dtype == torch.float32


def test_mixed_precision_trains_as_float32_does(make_model, batch, train_for) -> None:
    losses = []
    for amp in (None, 'bfloat16'):
        model = make_model(train={'amp': amp, 'total_iter': 50})
        train_for(model, batch, range(1, 51))
        losses.append(float(model.log_dict['l_total']))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'amp': 'float16'}, r'train\.amp: float16 is refused.*65,504.*Write bfloat16'),
        ({'amp': True}, r'train\.amp: expected bfloat16 or ~, got true'),
        ({'tf32': 'yes'}, r"train\.tf32: expected true or false or ~, got 'yes'"),
        ({'compile': 1}, r'train\.compile: expected true or false, got 1'),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_built(make_model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_model(train=options)


def test_tf32_is_set_for_each_section_and_left_to_torch_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(**options: bool | None) -> tuple[bool, bool]:
        Precision.from_options(options, 'train').run(nn.Identity(), torch.rand(1, 3, 2, 2))
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    usual = settings()
    assert settings(tf32=True) == (True, True)
    assert settings(tf32=False) == (False, False)
    assert settings() == usual


def test_channels_last() -> None:
    net = nn.Conv2d(3, 8, 3)
    precision = Precision.from_options({'channels_last': True}, 'train')
    precision.prepare(net, torch.device('cpu'))
    assert net.weight.is_contiguous(memory_format=torch.channels_last)
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    precision.run(net, torch.rand(2, 3, 8, 8))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_nested_outputs_come_back_in_float32() -> None:
    class Nested(nn.Conv2d):
        def forward(self, x: Tensor) -> tuple[list[Tensor], ...]:
            return ([super().forward(x)], [x.bfloat16(), x])

    output = Precision.from_options({'amp': 'bfloat16'}, 'val').run(Nested(3, 3, 1), torch.rand(1, 3, 4, 4))
    assert isinstance(output, tuple)
    assert [[part.dtype for part in parts] for parts in output] == [[torch.float32], [torch.float32] * 2]


def test_of_our_networks_the_blocks_are_compiled_of_others_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, 'compile', lambda self: compiled.append(self))
    other = nn.Conv2d(3, 3, 3)
    compile_network(other)
    assert compiled == [other]
    compiled.clear()
    net = DeepRFTv2(width=4, num_blocks=[1, 1, 1])
    keys = list(net.state_dict())
    compile_network(net)
    assert len(compiled) == 2 * 2 * 2 * 3  # columns, scales, encoder and decoder, levels
    assert all(isinstance(block, NAFBlock) for block in compiled)
    assert list(net.state_dict()) == keys


@pytest.mark.parametrize(
    ('channels', 'options', 'expected'), [(16, {}, False), (12, {}, True), (16, {'amp': 'bfloat16'}, True)]
)
def test_fused_blocks_are_not_compiled(
    channels: int, options: dict, expected: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, 'compile', lambda self: compiled.append(self))
    monkeypatch.setattr(torch, 'compile', lambda function: function)
    monkeypatch.setattr(get_root_logger(), 'propagate', True)
    block = NAFBlock(channels)
    Precision.from_options({'compile': True, **options}, 'train').prepare(block, torch.device('cpu'))
    assert compiled == [block] * expected
    assert ('train.compile is not used' in caplog.text) is not expected


def test_a_machine_that_cannot_compile_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError('No working C++ compiler found\nand much more')

    monkeypatch.setattr(torch, 'compile', fails)
    with pytest.raises(UserError) as caught:
        Precision.from_options({'compile': True}, 'train').prepare(nn.Conv2d(3, 3, 1), torch.device('cpu'))
    assert str(caught.value) == (
        'train.compile: torch.compile does not work on this machine (No working C++ compiler found). Remove the key.'
    )
