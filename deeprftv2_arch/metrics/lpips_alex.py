"""LPIPS: the distance of two images in the features of a network trained to recognise things."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.checkpoints.io import read_checkpoint
from deeprftv2_arch.metrics.info import as_rgb, metric_info, require_equal_shapes, require_size
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import expand

if TYPE_CHECKING:
    from lpips import LPIPS

_logger = logging.getLogger(__name__)


def lpips_alex(restored: np.ndarray, sharp: np.ndarray, trunk: str | Path | None = None) -> float:
    """Learned perceptual distance with AlexNet, version 0.1, on the CPU.

    Args:
        restored: RGB (H, W, 3) in [0, 1], at least 31 pixels high and wide.
        sharp: Image of the same shape.
        trunk: File with torchvision's weights of AlexNet; by default torchvision downloads them at first use.

    Returns:
        A distance of at least 0; 0 for equal images.

    Raises:
        ValueError: If the images are not (H, W, 3), differ in shape or are too small.
        UserError: If the package `lpips` or the weights are missing.

    Source: Zhang et al., CVPR 2018, package `lpips` with its weights v0.1; DPDD as Restormer scores it.
    """
    require_equal_shapes(restored, sharp)
    if restored.ndim != 3 or restored.shape[2] != 3:
        raise ValueError(f'expected an image (H, W, 3), got {restored.shape}')
    require_size(restored, 31)
    network = load_network(None if trunk is None else Path(expand(trunk)))
    with torch.no_grad():
        return network(_to_batch(restored), _to_batch(sharp), normalize=True).item()


def _to_batch(image: np.ndarray) -> torch.Tensor:
    """Turn (H, W, 3) into float32 (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]


@METRIC_REGISTRY.register()
@metric_info(better='lower', unquantized=True)
def calculate_lpips(
    img: np.ndarray, img2: np.ndarray, trunk: str | None = None, crop_border: int = 0, better: str = 'lower'
) -> float:
    """:func:`lpips_alex` of two images in BasicSR's form."""
    return lpips_alex(*as_rgb(img, img2, crop_border), trunk)


@functools.cache
def load_network(trunk: Path | None = None) -> LPIPS:
    """Load AlexNet and the weights of `lpips` on top of it.

    Raises:
        UserError: If the package or the weights are missing, or the file holds something else.
    """
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise UserError("LPIPS needs a package of its own. Try: pip install 'lpips>=0.1.4'") from error
    weights = _download_trunk() if trunk is None else _read_trunk(trunk)
    with warnings.catch_warnings():
        # `lpips` 0.1.4 calls torchvision in a way that was given up in 0.13.
        warnings.filterwarnings(
            'ignore', message='.*(pretrained|Arguments other than a weight enum)', category=UserWarning
        )
        network = LPIPS(net='alex', version='0.1', pnet_rand=True, verbose=False)
    for part in network.net.children():
        for index, layer in part.named_children():
            if layer.state_dict():
                layer.load_state_dict({name: weights[f'features.{index}.{name}'] for name in ('weight', 'bias')})
    return network.eval().requires_grad_(False)


def _published_trunk() -> str:
    from torchvision.models import AlexNet_Weights

    return AlexNet_Weights.IMAGENET1K_V1.url


def _download_trunk() -> dict[str, torch.Tensor]:
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    try:
        return torch.hub.load_state_dict_from_url(_published_trunk(), map_location='cpu', check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f'LPIPS needs the AlexNet of torchvision, which could not be loaded: {error}. Where there is a network, '
            f'get {_published_trunk()}; then copy it to {folder}, or name it in the option file: trunk: FILE.'
        ) from error


def _read_trunk(file: Path) -> dict[str, torch.Tensor]:
    weights = read_checkpoint(file)
    expected = {'features.0.weight': (64, 3, 11, 11), 'features.10.weight': (256, 256, 3, 3)}
    if any(getattr(weights.get(key), 'shape', None) != shape for key, shape in expected.items()):
        raise UserError(f'trunk: {file} holds no weights of AlexNet. Expected the file at {_published_trunk()}.')
    name, _ = os.path.splitext(_published_trunk())
    prefix = name.rpartition('-')[2]  # of the checksum, as in all files of torchvision
    if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(prefix):
        _logger.warning('%s is not the AlexNet that LPIPS was published with; its values cannot be compared.', file)
    return weights
