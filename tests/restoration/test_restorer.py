"""Arrays and tensors in and out, tiles, strength, and outputs that do not look like their input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeprftv2_arch.archs import ATDFKE, Bicubic, DeepRFTv2
from deeprftv2_arch.restoration import Restorer, guard, restorer, tiling
from deeprftv2_arch.utils.errors import UserError


def scene(height: int = 120, width: int = 200, seed: int = 0) -> np.ndarray:
    """A textured picture with edges, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 160, (height // 20, width // 20, 1), np.uint8), (width, height))
    tint = cv2.resize(rng.integers(0, 40, (height // 20, width // 20, 3), np.uint8), (width, height))
    fine = cv2.resize(rng.integers(0, 40, (height // 2, width // 2, 1), np.uint8), (width, height))
    return coarse[..., None] + fine[..., None] + tint


class Changed(nn.Module):
    """A network that returns what a function makes of the image."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(x)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize('shape', [(50, 70, 3), (50, 70), (1, 1, 3), (1, 90)])
def test_arrays_come_back_as_they_are(restorer_of, dtype, shape):
    image = np.random.default_rng(0).random(shape)
    image = image.astype(dtype) if dtype in (np.float32, np.float64) else (image * np.iinfo(dtype).max).astype(dtype)
    kept = image.copy()
    output = restorer_of(nn.Identity()).restore(image)
    assert output.dtype == dtype
    assert np.array_equal(image, kept)
    np.testing.assert_allclose(output, image, atol=1e-6 if image.dtype.kind == 'f' else 0)


def test_tensors(restorer_of):
    image = torch.rand(3, 20, 30, dtype=torch.float64)
    output = restorer_of(Changed(lambda x: x * 0.97)).restore(image)
    assert output.dtype == torch.float64
    torch.testing.assert_close(output, 0.97 * image, atol=1e-6, rtol=0)
    assert restorer_of(nn.Identity()).restore(image[None]).shape == (1, 3, 20, 30)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4, 3), np.nan, np.float32),
        torch.zeros(2, 3, 4, 4),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        torch.full((3, 4, 4), torch.inf),
        'photo.jpg',
    ],
)
def test_what_is_no_image_is_refused(restorer_of, image):
    with pytest.raises(UserError):
        restorer_of(nn.Identity()).restore(image)


@pytest.mark.parametrize('options', [{'tile': 3}, {'precision': 'float16'}, {'device': 'abacus'}])
def test_options_that_cannot_be(tiny_weights, options):
    with pytest.raises(UserError):
        Restorer.load(tiny_weights, **{'device': 'cpu', **options})


def test_strength_lies_between_input_and_output(restorer_of):
    image = scene().astype(np.float32) / 300
    darker = restorer_of(Changed(lambda x: x - 0.03))
    np.testing.assert_allclose(darker.restore(image, 0), image, atol=1e-6)
    np.testing.assert_allclose(darker.restore(image, 0.5), np.clip(image - 0.03, 0, 1) / 2 + image / 2, atol=1e-6)
    with pytest.raises(UserError, match=r'strength lies between 0 and 1, got 1\.2'):
        darker.restore(image, 1.2)


def test_tiles_of_a_local_network_are_the_whole_image(restorer_of):
    """A 5x5 convolution sees two pixels far, which the blended rims of the tiles cover all but linearly."""
    torch.manual_seed(0)
    weight = torch.rand(3, 1, 3, 3)
    blur = Changed(lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), 'replicate'), weight / weight.sum((2, 3), True), groups=3))
    image = scene(150, 230)
    whole = restorer_of(blur, tile=None).restore(image)
    seen = []
    tiled = restorer_of(blur, tile=64).restore(image, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(13)]
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.mean() < 0.05
    assert difference[8:-8, 8:-8].max() <= 25


def test_automatic_tiles_shrink_when_memory_runs_out(restorer_of):
    sides = []

    def greedy(x):
        sides.append(x.shape[-1])
        if x.shape[-1] > 100:
            raise torch.OutOfMemoryError('out of memory')
        return x

    image = scene(120, 300)
    assert np.array_equal(restorer_of(Changed(greedy)).restore(image), image)
    assert max(side for side in sides if side <= 100) <= 96
    with pytest.raises(UserError, match=r'too little memory.*--tile 128'):
        restorer_of(Changed(greedy), tile=256).restore(image)


def test_automatic_tiles_are_small_enough_to_show_progress(restorer_of):
    sides = []
    restorer_of(Changed(lambda x: sides.append(x.shape[-2:]) or x)).restore(scene(600, 700))
    assert max(max(side) for side in sides) == tiling.LARGEST_TILE


@pytest.mark.parametrize('size', [(37, 51), (1, 1), (5, 200)])
def test_our_networks_of_any_size(restorer_of, size):
    torch.manual_seed(0)
    image = torch.rand(1, 3, *size)
    sr = ATDFKE(upscale=2, width=8, depths=[1], heads=2, window=4, group=16, tokens=5, code_channels=3)
    deblur = DeepRFTv2(width=8, num_blocks=[1, 1], block_types=[['naf', 'naf'], ['naf', 'naf']], num_columns=1)
    for net, scale in ((sr, 2), (deblur, 1)):
        expected = net.eval()(image).clamp(0, 1)
        output = restorer_of(net, scale).restore(image, on_suspect='write')
        torch.testing.assert_close(output, expected.detach())


def test_enlarging(restorer_of):
    image = scene()
    enlarged = restorer_of(Bicubic(3), 3).restore(image)
    assert enlarged.shape == (360, 600, 3)
    kept = restorer_of(Bicubic(3), 3).restore(image, 0)
    assert np.abs(kept.astype(int) - enlarged).mean() < 2


def test_networks_for_grey_see_each_colour(restorer_of):
    shapes = []
    net = Changed(lambda x: shapes.append(x.shape) or x)
    image = scene()
    assert np.array_equal(restorer_of(net, channels=1).restore(image), image)
    assert shapes == [(3, 1, 120, 200)]


def test_self_ensemble_turns_the_image(restorer_of):
    shapes = []
    net = Changed(lambda x: shapes.append(tuple(x.shape[-2:])) or x)
    image = scene()
    assert np.array_equal(restorer_of(net, self_ensemble=True).restore(image), image)
    assert shapes.count((120, 200)) == shapes.count((200, 120)) == 4


def test_half_precision_is_asked_of_the_network(restorer_of):
    kinds = []
    net = nn.Sequential(nn.Conv2d(3, 3, 1), Changed(lambda x: kinds.append(x.dtype) or x))
    restorer_of(net, precision='bfloat16').restore(scene(), on_suspect='write')
    assert kinds == [torch.bfloat16]


def test_device_that_is_chosen():
    assert restorer.choose_device('cpu').type == 'cpu'
    expected = 'cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu'
    assert restorer.choose_device().type == expected


# Outputs that do not look like their input.


def mosaic(x: torch.Tensor) -> torch.Tensor:
    """Squares of random colours, as reported of networks on dark even photographs."""
    height, width = x.shape[-2:]
    generator = torch.Generator().manual_seed(0)
    squares = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=generator)
    return x + 0.35 * (squares - squares.mean()).repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :height, :width]


def patch(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[..., 40:80, 60:120] += torch.tensor([0.3, -0.1, 0.1])[:, None, None]
    return x


def not_finite(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[..., 50, 70] = torch.nan
    return x


def checkerboard(x: torch.Tensor) -> torch.Tensor:
    y, x_ = torch.meshgrid(torch.arange(x.shape[-2]), torch.arange(x.shape[-1]), indexing='ij')
    return x + 0.3 * ((y + x_) % 2 * 2 - 1)


BROKEN = {
    'mosaic': (mosaic, 'that are not in the input'),
    'patch': (patch, 'colours that are not in the input'),
    'shift': (lambda x: x * torch.tensor([1.0, 0.8, 0.8])[:, None, None] + 0.07, 'colour of the whole photograph'),
    'not finite': (not_finite, 'values that are not finite'),
    'checkerboard': (checkerboard, 'patterns that are not|colour of the whole'),
}


@pytest.mark.parametrize('name', BROKEN)
@pytest.mark.parametrize('background', ['dark', 'scene'])
def test_broken_outputs_are_found(restorer_of, name, background):
    change, reason = BROKEN[name]
    image = np.full((120, 200, 3), 9, np.uint8) if background == 'dark' else scene()
    broken = restorer_of(Changed(change), tile=None)
    with pytest.warns(UserWarning, match=reason):
        blended = broken.restore(image)
    with pytest.warns(UserWarning, match=reason):
        kept = broken.restore(image, on_suspect='keep')
    with pytest.warns(UserWarning, match=reason):
        written = broken.restore(image, on_suspect='write')
    assert np.array_equal(kept, image)
    bad = np.abs(written.astype(int) - image).max()
    if name != 'not finite':
        assert np.abs(blended.astype(int) - image).max() < bad
    if name in ('patch', 'not finite'):
        assert np.abs(blended[40:80, 64:116].astype(int) - image[40:80, 64:116]).max() <= 1


def test_what_is_sound_elsewhere_is_not_blended(restorer_of):
    image = np.full((120, 320, 3), 90, np.uint8)
    net = Changed(lambda x: patch(x) + 0.02)
    with pytest.warns(UserWarning, match='not in the input'):
        blended = restorer_of(net, tile=None).restore(image)
    assert (blended[:, 260:] == 95).all()


@pytest.mark.parametrize('length', [9, 25, 45])
@pytest.mark.parametrize('seed', range(3))
def test_perfect_restorations_are_not_suspect(restorer_of, length, seed):
    """Blurred by motion, the true sharp picture put in its place, even noise and text-like contrast included."""
    sharp = scene(240, 320, seed)
    sharp[60:100, 40:200] = np.where(scene(40, 160, seed + 9) > 100, 250, 5)
    kernel = np.zeros((length, length), np.float32)
    cv2.line(kernel, (0, seed * length // 3), (length - 1, length // 2), 1.0, 1)
    blurred = cv2.filter2D(sharp, -1, kernel / kernel.sum())
    answer = torch.from_numpy(sharp).permute(2, 0, 1)[None] / 255
    assert not guard.compare(torch.from_numpy(blurred).permute(2, 0, 1)[None] / 255, answer)


def test_noise_may_stay(restorer_of):
    noise = torch.rand(1, 3, 64, 64)
    assert not guard.compare(noise, noise)


def test_bands_join(monkeypatch):
    """Large photographs are looked at in bands, with the same result."""
    image = torch.from_numpy(scene(200, 160)).permute(2, 0, 1)[None] / 255
    output = patch(image)
    whole = guard.compare(image, output)
    monkeypatch.setattr(guard, 'BAND', 64)
    banded = guard.compare(image, output)
    assert whole.reason == banded.reason
    assert torch.equal(whole.blocks, banded.blocks)
