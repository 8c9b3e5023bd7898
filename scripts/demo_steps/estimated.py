"""The kernel that the trained network's last Fourier kernel estimator finds in a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from basicsr.archs import build_network

from deeprftv2_arch.analysis.kernels import mean_kernel, record_kernels


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
    def kernel(self, blurred: np.ndarray) -> np.ndarray:
        """Estimate the kernel of an image.

        Args:
            blurred: (H, W, 3) RGB uint8.

        Returns:
            (k, k), sum 1: the mean over the channels and the tiles of the image.
        """
        image = torch.from_numpy(blurred.transpose(2, 0, 1) / np.float32(255))[None]
        with record_kernels(self.network.columns[-1].unets[0].fke) as spectra:
            self.network(image)
        return mean_kernel(torch.cat(spectra)).numpy()
