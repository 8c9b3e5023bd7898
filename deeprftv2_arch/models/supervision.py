"""Training losses on every output of a network, at every scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.utils.errors import UserError

_SCALE_NAMES = ('', '_half', '_quarter')


def supervise(
    criteria: Mapping[str, nn.Module], outputs: Sequence[Sequence[Tensor]], target: Tensor
) -> dict[str, Tensor]:
    """Compare all outputs of a network with the image pyramid of the ground truth.

    Args:
        criteria: Losses by name; each takes a prediction and a target. A loss that returns several terms, such as the
            BasicSR's PerceptualLoss, counts with their sum.
        outputs: One sequence of predictions per scale, full resolution first, each half the size of the one before.
        target: Ground truth at full resolution, (N, C, H, W).

    Returns:
        The loss terms by name: ``l_pix``, ``l_fft`` at full resolution, ``l_pix_half``, ``l_fft_half`` at the next
        scale and so on. Each is the mean over the predictions of its scale. Their sum is the loss to minimise.

    Raises:
        UserError: If an output has not the size of its ground truth, as when a network was built for another scale.

    Source: equation of the total loss of the paper; the means over the outputs are those of the released training.
    """
    terms = {}
    for scale, (predictions, image) in enumerate(zip(outputs, image_pyramid(target, len(outputs)), strict=True)):
        suffix = _SCALE_NAMES[scale] if scale < len(_SCALE_NAMES) else f'_{2**scale}th'
        for prediction in predictions:
            _check_sizes(prediction, image)
        for name, criterion in criteria.items():
            losses = [_one_term(criterion(prediction, image)) for prediction in predictions]
            terms[name + suffix] = torch.stack(losses).mean()
    return terms


def _one_term(loss: Tensor | Sequence[Tensor | None]) -> Tensor:
    if isinstance(loss, Tensor):
        return loss
    return torch.stack([term for term in loss if term is not None]).sum()


def _check_sizes(prediction: Tensor, image: Tensor) -> None:
    (height, width), (wanted_height, wanted_width) = prediction.shape[-2:], image.shape[-2:]
    if (height, width) != (wanted_height, wanted_width):
        raise UserError(
            f'The network gives {width} x {height} pixels where the ground truth has {wanted_width} x {wanted_height}. '
            'For super-resolution scale must be what network_g was built for (upscale); otherwise the network does not '
            'keep the size of its input.'
        )
