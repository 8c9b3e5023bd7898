"""The blocks of ATD: published values, and shifted windows as they are usually written."""

from __future__ import annotations

import math

import pytest
import torch
from published import TOLERANCE, distance, load
from published_atd import fill
from torch import Tensor
from torch.nn import functional as F

from deeprftv2_arch.checkpoints.published_keys.atd import distance_table, published_layer_key
from deeprftv2_arch.checkpoints.published_keys.deeprftv2 import published_fke_key
from deeprftv2_arch.nn.atd.attention import (
    CategoryAttention,
    TokenAttention,
    TokenRefinement,
    WindowAttention,
    split_heads,
)
from deeprftv2_arch.nn.atd.block import ATDBlock, ATDLayer, ConvFeedForward
from deeprftv2_arch.nn.atd.partition import partition, spans
from deeprftv2_arch.nn.atd.upsampler import make_upsampler
from deeprftv2_arch.nn.fke import FourierKernelEstimator

GOLDEN = load('atd')
LIGHT = {
    'channels': 48,
    'heads': 4,
    'window': 16,
    'group': 128,
    'tokens': 64,
    'code_channels': 8,
    'ffn_channels': 48,
    'ffn_kernel': 7,
}
CPU = torch.device('cpu')


def golden(key: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(GOLDEN[key]).to(dtype)


def renamed(part: str, published: str):
    """Published keys of a part of the layer, as a module of its own has them."""
    return lambda key: published_layer_key(f'{part}.{key}').removeprefix(f'{published}.')


@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@pytest.mark.parametrize(('name', 'shift', 'refines'), [('shift0', 0, True), ('shift8', 8, True), ('last', 8, False)])
@torch.no_grad()
def test_a_layer_has_the_published_values(name: str, shift: int, refines: bool, dtype: torch.dtype) -> None:
    layer = fill(ATDLayer(**LIGHT, shift=shift, refines=refines), published_layer_key, dtype)
    x, dictionary = layer(golden('layer.x', dtype), golden('layer.dictionary', dtype), (48, 32))
    assert distance(x[:, ::32], GOLDEN[f'layer.{name}.out']) < TOLERANCE[dtype]
    assert distance(dictionary[:, ::4], GOLDEN[f'layer.{name}.dictionary']) < TOLERANCE[dtype]


@torch.no_grad()
def test_attention_to_the_tokens_has_the_published_values() -> None:
    attention = fill(TokenAttention(48, 64, 8), renamed('token', 'attn_atd'))
    out, similarity = attention(golden('token.x'), golden('token.dictionary'))
    assert distance(out[:, ::8], GOLDEN['token.out']) < 1e-12
    assert distance(similarity[:, ::8], GOLDEN['token.similarity']) < 1e-12


@torch.no_grad()
def test_attention_in_categories_has_the_published_values() -> None:
    """300 pixels in groups of 128, and a temperature above the bound."""
    attention = fill(CategoryAttention(48, 4, 128), renamed('category', 'attn_aca'))
    attention.logit_scale.fill_(6.0)
    out = attention(golden('category.n300.qkv'), golden('category.n300.similarity'))
    assert distance(out[:, ::8], GOLDEN['category.n300_clamp.out']) < 1e-9


@torch.no_grad()
def test_the_feed_forward_part_has_the_published_values() -> None:
    part = fill(ConvFeedForward(48, 48, 7), renamed('ffn', 'convffn'))
    assert distance(part(golden('ffn.x'), (15, 20))[:, ::8], GOLDEN['ffn.out']) < 1e-12


@torch.no_grad()
def test_chained_estimators_without_an_image_have_the_published_values_at_odd_sizes() -> None:
    residuals = None
    feature = golden('fke.x')
    for name in ('first', 'next'):
        estimator = fill(FourierKernelEstimator(48, None, first=name == 'first'), published_fke_key).eval()
        _, feature, residuals = estimator(feature, residuals=residuals)
        assert distance(feature[:, ::16], GOLDEN[f'fke.{name}.feature']) < 1e-9
        for residual, published in zip(residuals, ('k1', 'k2', 'k3', 'dec'), strict=True):
            assert distance(residual[:, ::16], GOLDEN[f'fke.{name}.{published}']) < 1e-9


def shifted_windows(attention: WindowAttention, qkv: Tensor, height: int, width: int) -> Tensor:
    """Swin's way: roll the map, cut it into windows, mask what the roll has brought together, and roll back."""
    window, shift = attention.window, attention.shift

    def cut(x: Tensor) -> Tensor:
        x = x.unflatten(1, (height // window, window)).unflatten(3, (width // window, window))
        return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)  # one window after the other, w * w pixels

    def rolled(x: Tensor, by: int) -> Tensor:
        return x.roll((by, by), (1, 2))

    labels = torch.zeros(1, height, width, 1)
    edges = (slice(0, -window), slice(-window, -shift), slice(-shift, None)) if shift else (slice(None),)
    for row, rows in enumerate(edges):
        for column, columns in enumerate(edges):
            labels[:, rows, columns] = 3 * row + column
    labels = cut(labels)[..., 0].repeat(len(qkv), 1)
    mask = (labels[:, :, None] != labels[:, None]).to(qkv.dtype) * -100
    q, k, v = split_heads(cut(rolled(qkv.unflatten(1, (height, width)), -shift)), attention.heads)
    bias = attention.bias_table[distance_table(window)].permute(2, 0, 1)
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias + mask[:, None]
    out = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    out = out.unflatten(1, (window, window)).unflatten(0, (len(qkv), height // window, width // window))
    return attention.proj(rolled(out.transpose(2, 3).flatten(3, 4).flatten(1, 2), shift).flatten(1, 2))


@pytest.mark.parametrize('size', [(8, 8), (16, 8), (24, 32)])
@pytest.mark.parametrize('shift', [0, 4])
def test_rectangles_attend_as_masked_windows_do(size: tuple[int, int], shift: int) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(6, 2, 8, shift).double()
    torch.nn.init.normal_(attention.bias_table)
    qkv = torch.randn(2, size[0] * size[1], 18, dtype=torch.float64)
    torch.testing.assert_close(attention(qkv, size), shifted_windows(attention, qkv, *size))


@pytest.mark.parametrize('length', [*range(1, 40), 57, 64])
@pytest.mark.parametrize('shift', [0, 4])
def test_every_pixel_asks_once_and_sees_itself(length: int, shift: int) -> None:
    found = spans(length, 8, shift)
    assert sorted(pixel for span in found for pixel in span.queries) == list(range(length))
    for span in found:
        assert set(span.queries) <= set(span.keys)
        assert len(span.keys) <= 8
        assert 0 <= span.keys.start < span.keys.stop <= length


def test_a_last_window_is_moved_back_for_its_keys() -> None:
    whole, last = spans(11, 8)
    assert (whole.queries, whole.keys) == (range(8), range(8))
    assert (last.queries, last.keys) == (range(8, 11), range(3, 11))


def test_tables_are_kept_for_the_last_sizes_only() -> None:
    partition.cache_clear()
    assert partition(8, 8, 4, 0, CPU) is partition(8, 8, 4, 0, CPU)
    for height in range(1, 40):
        partition(height, 8, 4, 2, CPU)
    assert partition.cache_info().currsize <= 8


def test_tables_made_in_inference_mode_serve_a_training() -> None:
    partition.cache_clear()
    attention, qkv = WindowAttention(4, 2, 4), torch.rand(1, 30, 12)
    with torch.inference_mode():
        expected = attention(qkv, (5, 6)).clone()
    trained = attention(qkv, (5, 6))
    trained.sum().backward()
    torch.testing.assert_close(trained, expected)
    assert attention.bias_table.grad.isfinite().all()


def test_categories_are_those_of_float32_under_autocast() -> None:
    torch.manual_seed(0)
    attention, x, dictionary = TokenAttention(8, 64, 8), torch.randn(1, 500, 8), torch.randn(1, 64, 8)
    _, exact = attention(x, dictionary)
    with torch.autocast('cpu', torch.bfloat16):
        _, mixed = attention(x, dictionary)
    assert mixed.dtype == torch.float32
    # Codes in bfloat16 have 256 different values between 1 and 2: of similarities there are many more.
    assert len(mixed.unique()) > 0.9 * mixed.numel()
    assert (exact.argmax(-1) == mixed.argmax(-1)).float().mean() > 0.9


def test_pixels_of_one_category_stay_in_image_order() -> None:
    """One category for all: groups are runs of pixels, which an unstable sort would mix."""
    torch.manual_seed(0)
    attention = CategoryAttention(4, 2, 16).double()
    qkv = torch.randn(1, 640, 12, dtype=torch.float64)
    out = attention(qkv, torch.full((1, 640, 3), 1 / 3, dtype=torch.float64))
    alone = [attention(part, torch.ones(1, 16, 1, dtype=torch.float64)) for part in qkv.split(16, dim=1)]
    torch.testing.assert_close(out, torch.cat(alone, dim=1))


@pytest.mark.parametrize('length', [1, 5, 17, 23])
def test_categories_against_attention_written_out(length: int) -> None:
    torch.manual_seed(length)
    attention = CategoryAttention(4, 1, 8).double()
    qkv = torch.randn(1, length, 12, dtype=torch.float64)
    similarity = torch.rand(1, length, 5, dtype=torch.float64)
    order = sorted(range(length), key=lambda pixel: int(similarity[0, pixel].argmax()))
    group = min(length, 8)
    order += order[::-1][: -length % group]
    expected = torch.empty(length, 4, dtype=torch.float64)
    for start in range(len(order) - group, -1, -group):  # a pixel that fills up is overwritten by its own group
        members = order[start : start + group]
        q, k, v = qkv[0, members].chunk(3, dim=-1)
        expected[members] = (10 * q @ k.t()).softmax(-1) @ v
    torch.testing.assert_close(attention(qkv, similarity)[0], attention.proj(expected))


def test_refinement_against_its_definition() -> None:
    torch.manual_seed(0)
    refinement = TokenRefinement(3).double()
    with torch.no_grad():
        for parameter in refinement.parameters():
            parameter.normal_()
    dictionary, x = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 7, 4, dtype=torch.float64)
    similarity = torch.rand(2, 7, 3, dtype=torch.float64)
    score = (similarity - similarity.mean(1, True)) / (similarity.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    weights = (score * refinement.weight + refinement.bias).softmax(1)
    gate = refinement.gate.sigmoid()
    expected = gate * dictionary + (1 - gate) * torch.einsum('nlm,nlc->nmc', weights, x)
    torch.testing.assert_close(refinement(dictionary, similarity, x), expected)
    # A single pixel has no variance: it is every token's mean.
    torch.testing.assert_close(
        refinement(dictionary, similarity[:, :1], x[:, :1]), gate * dictionary + (1 - gate) * x[:, :1]
    )


def test_layers_computed_again_in_backward_have_the_same_gradients() -> None:
    torch.manual_seed(0)
    small = {'heads': 2, 'group': 8, 'code_channels': 3, 'ffn_channels': 4, 'ffn_kernel': 3}
    gradients, x = [], torch.randn(2, 30, 4, dtype=torch.float64)
    for checkpointed in (False, True):
        torch.manual_seed(1)
        block = ATDBlock(4, 3, 4, 5, torch.nn.Conv2d(4, 4, 3, padding=1), checkpointed, **small).double()
        block(x, (5, 6)).square().sum().backward()
        gradients.append([parameter.grad for parameter in block.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(('kind', 'scale'), [('direct', 5), ('pixelshuffle', 8), ('pixelshuffle', 3), ('nearest', 4)])
def test_upsamplers_grow_by_their_scale(kind: str, scale: int) -> None:
    assert make_upsampler(kind, 6, 3, scale)(torch.rand(1, 6, 4, 5)).shape == (1, 3, 4 * scale, 5 * scale)


def test_the_nearest_upsampler_is_its_steps() -> None:
    net, x = make_upsampler('nearest', 4, 3, 4), torch.rand(1, 4, 3, 5)
    step = F.leaky_relu(net.entry(x), 0.01)
    for conv in (net.up0, net.up1):
        step = F.leaky_relu(conv(F.interpolate(step, scale_factor=2, mode='nearest')), 0.2)
    torch.testing.assert_close(net(x), net.exit(F.leaky_relu(net.refine(step), 0.2)))


@pytest.mark.parametrize(('kind', 'scale'), [('nearest', 2), ('pixelshuffle', 6), ('pixelshuffle', 1), ('bilinear', 2)])
def test_upsamplers_that_cannot_be_are_refused(kind: str, scale: int) -> None:
    with pytest.raises(ValueError, match='upsampler'):
        make_upsampler(kind, 4, 3, scale)
