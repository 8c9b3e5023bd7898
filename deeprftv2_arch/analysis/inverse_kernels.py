"""How well, and how steadily, inverse kernels are predicted: one branch against the other and against both.

The abstract of FDIKP makes two claims: features of the frequency domain give more accurate kernels where the blur is
severe, and two branches together are steadier. Here they are measured where the true blur is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.analysis.synthetic_defocus import (
    Defocused,
    Shape,
    blur_kernel,
    defocus,
    inversion_error,
    sharp_textures,
)
from deeprftv2_arch.nn.fdikp.inverse_kernels import Branches, DualBranchInverseKernels
from deeprftv2_arch.nn.fdikp.kernel_stack import effective_kernels
from deeprftv2_arch.nn.fdikp.position_adaptive import Deconvolved, PositionAdaptiveConvolution
from deeprftv2_arch.nn.nafblock import NAFBlock

# Where test images are looked at, in pixels from their borders: beyond the reach of kernels that cross them.
MARGIN = 16


class InverseKernelProbe(nn.Module):
    """Inverse kernel prediction and position adaptive convolution with nothing behind them.

    Args:
        branches: What predicts the kernels.
        width: Channels of the features.
        num_kernels, kernel_size, spectrum_tile, spectral_channels, signed_gain: See :class:`DualBranchInverseKernels`.

    Shape:
        (N, 3, H, W) -> :class:`Deconvolved`, kernels (N, M, k, k).
    """

    def __init__(
        self,
        branches: Branches = 'both',
        *,
        width: int = 16,
        num_kernels: int = 3,
        kernel_size: int = 15,
        spectrum_tile: int = 32,
        spectral_channels: int = 6,
        signed_gain: bool = False,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), NAFBlock(width), NAFBlock(width))
        self.predict = DualBranchInverseKernels(
            width,
            num_kernels=num_kernels,
            kernel_size=kernel_size,
            spectrum_tile=spectrum_tile,
            spectral_channels=spectral_channels,
            branches=branches,
            signed_gain=signed_gain,
        )
        self.convolve = PositionAdaptiveConvolution(width, num_kernels)

    def forward(self, image: Tensor) -> tuple[Deconvolved, Tensor]:
        feature = self.features(image)
        kernels = self.predict(feature)
        return self.convolve(image, kernels, feature), kernels


class Setting(NamedTuple):
    """What a probe is trained and tested on.

    Attributes:
        shape: Of the blur.
        strongest: Strength of the blur is drawn evenly from 0 to this, in pixels.
        noise: Standard deviation.
        steps, batch, crop: Of the training.
        textures, side: How many sharp images there are to train on, and their side in pixels.
        learning_rate: The highest of Adam; it rises for a tenth of the steps and then falls to zero on a cosine.
    """

    shape: Shape = 'gaussian'
    strongest: float = 2.0
    noise: float = 0.005
    steps: int = 400
    batch: int = 4
    crop: int = 48
    textures: int = 24
    side: int = 96
    learning_rate: float = 3e-3


def training_batches(setting: Setting, seed: int) -> Iterator[Defocused]:
    """Endless random crops, each blurred differently in two parts, a function of the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    bank = sharp_textures(setting.textures, setting.side, generator)
    while True:
        numbers = torch.randint(setting.textures, (setting.batch,), generator=generator)
        places = torch.randint(setting.side - setting.crop + 1, (setting.batch, 2), generator=generator)
        crops = [
            bank[number, :, y : y + setting.crop, x : x + setting.crop]
            for number, (y, x) in zip(numbers.tolist(), places.tolist(), strict=True)
        ]
        strengths = setting.strongest * torch.rand(setting.batch, 2, generator=generator)
        yield defocus(torch.stack(crops), strengths, shape=setting.shape, noise=setting.noise, generator=generator)


def train_probe(probe: InverseKernelProbe, setting: Setting, seed: int) -> InverseKernelProbe:
    """Train on the mean absolute error of the deconvolved image; kernels are never shown. Returns the probe."""
    optimizer = torch.optim.Adam(probe.parameters(), lr=setting.learning_rate)
    # Without the slow start the first kernels can be so wrong that all scores turn to the image itself, for good.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, setting.learning_rate, total_steps=setting.steps, pct_start=0.1
    )
    for batch in islice(training_batches(setting, seed), setting.steps):
        restored, _ = probe(batch.blurred)
        optimizer.zero_grad()
        F.l1_loss(restored.image, batch.sharp).backward()
        nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return probe.eval()


def two_halves(images: Tensor, left: float, right: float, setting: Setting, seed: int) -> Defocused:
    """Blur images with one strength in the left half and another in the right one."""
    second = torch.zeros_like(images[:, :1])
    second[..., images.shape[-1] // 2 :] = 1
    strengths = torch.tensor([[left, right]]).expand(len(images), 2)
    generator = torch.Generator().manual_seed(seed)
    return defocus(images, strengths, shape=setting.shape, noise=setting.noise, generator=generator, second=second)


def kernels_at(probe: InverseKernelProbe, blurred: Tensor, columns: tuple[int, int]) -> Tensor:
    """The kernel that is in effect at pixels of a grid in some columns: (N, P, k, k)."""
    with torch.no_grad():
        restored, kernels = probe(blurred)
    rows = torch.arange(MARGIN, blurred.shape[-2] - MARGIN, 8)
    grid = torch.cartesian_prod(rows, torch.arange(*columns, 8))
    return effective_kernels(restored.scores, kernels, *grid.unbind(1))


class Accuracy(NamedTuple):
    """Accuracy at one strength of blur, in halves of images whose other half has another strength.

    Attributes:
        error: Of the mean kernel of a half, see :func:`inversion_error`; mean over images.
        gain: PSNR of the restored half less that of the blurred one, in dB; mean over images.
    """

    error: float
    gain: float


def accuracy(probe: InverseKernelProbe, images: Tensor, strength: float, other: float, setting: Setting) -> Accuracy:
    """Measure on images whose left half has one strength of blur and whose right half another.

    Args:
        probe: Trained.
        images: (N, 3, H, W), sharp, not those of the training.
        strength: Of the left half, which is looked at.
        other: Of the right half.
        setting: Shape of blur, and noise.
    """
    sample = two_halves(images, strength, other, setting, seed=1)
    middle = images.shape[-1] // 2
    kernels = kernels_at(probe, sample.blurred, (MARGIN, middle - MARGIN)).mean(1)
    error = inversion_error(kernels, blur_kernel(setting.shape, strength)) if strength > 0 else torch.tensor(0.0)
    with torch.no_grad():
        restored = probe(sample.blurred)[0].image
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, middle - MARGIN))
    gain = _psnr(restored[inner], sample.sharp[inner]) - _psnr(sample.blurred[inner], sample.sharp[inner])
    return Accuracy(error.mean().item(), gain.mean().item())


def spread(probe: InverseKernelProbe, images: Tensor, strength: float, setting: Setting, crop: int = 64) -> float:
    """How much predictions differ between crops of one image under one and the same blur.

    Args:
        probe: Trained.
        images: (N, 3, H, W), sharp, larger than a crop.
        strength: Of the blur, the same everywhere.
        setting: Shape of blur, and noise.
        crop: Side of the crops in pixels.

    Returns:
        Root of the mean squared distance (2-norm) of the mean kernel of a crop from that of all crops of its image,
        divided by the distance of the latter from the unit pulse; mean over images.
    """
    blurred = two_halves(images, strength, strength, setting, seed=2).blurred
    height, width = blurred.shape[-2:]
    places = [(y, x) for y in range(0, height - crop + 1, crop // 2) for x in range(0, width - crop + 1, crop // 2)]
    crops = [blurred[..., y : y + crop, x : x + crop] for y, x in places]
    kernels = torch.stack([kernels_at(probe, part, (MARGIN, crop - MARGIN)).mean(1) for part in crops])  # p n k k
    mean = kernels.mean(0)
    pulse = torch.zeros_like(mean)
    pulse[..., mean.shape[-2] // 2, mean.shape[-1] // 2] = 1
    distances = (kernels - mean).flatten(2).norm(dim=-1).square().mean(0).sqrt()
    return (distances / (mean - pulse).flatten(1).norm(dim=-1)).mean().item()


def _psnr(image: Tensor, sharp: Tensor) -> Tensor:
    return -10 * (image - sharp).square().mean((1, 2, 3)).log10()
