"""The kernel that the trained network's last Fourier kernel estimator finds in a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from basicsr.archs import build_network
from torch import Tensor

from deeprftv2_arch.analysis.kernels import kernel_picture, record_kernels, spatial_kernels


class Estimator:
    """A trained network, asked for its kernels.

    Args:
        option_file: Test option file with the network and the key of its weights.
        weights: Checkpoint.
    """

    def __init__(self, option_file: Path, weights: Path) -> None:
        options = yaml.safe_load(option_file.read_text())
        self.network = build_network(options['network_g']).eval()
        self.network.load_state_dict(torch.load(weights)[options['path']['param_key_g']])

    @torch.no_grad()
    def _kernels(self, image: np.ndarray) -> Tensor:
        """The kernels of every tile and channel, (T, C, h, w)."""
        tensor = torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255))[None]
        with record_kernels(self.network.columns[-1].unets[0].fke) as spectra:
            self.network(tensor)
        return spatial_kernels(torch.cat(spectra))

    def kernel(self, blurred: np.ndarray, sharp: np.ndarray) -> np.ndarray:
        """What the estimator's kernel owes to the blur.

        Most of the kernel passes the feature on and is there without any blur, and it depends on the scene. So the
        kernel of the sharp image is taken off.

        Args:
            blurred, sharp: (H, W, 3) RGB uint8 images of one scene.

        Returns:
            (h, w) of the size of a tile, >= 0, sum 1: the mean over the tiles of the image and over the channels.
        """
        return kernel_picture(self._kernels(blurred), self._kernels(sharp).mean(dim=0)).numpy()
