"""A DeblurModel on a network that trains in milliseconds, and loaders for it: fixtures of several folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.models import build_model
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.utils.data import DataLoader

from deeprftv2_arch.data import PairedDeblurDataset
from deeprftv2_arch.models import DeblurModel
from deeprftv2_arch.nn.pyramid import image_pyramid


@ARCH_REGISTRY.register()
class TwoScaleProbe(nn.Module):
    """Two outputs at full and one at half resolution; a buffer counts its forwards in training."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 3, 3, padding=1)
        self.coarse = nn.Conv2d(3, 3, 3, padding=1)
        self.register_buffer('forwards', torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor, return_all: bool = False) -> Any:
        if self.training:
            self.forwards += 1
        full, half = image_pyramid(x, 2)
        first, blurry = full + self.fine(full), half + self.coarse(half)
        last = first + nn.functional.interpolate(blurry, size=full.shape[-2:])
        return ([first, last], [blurry]) if return_all else last


@ARCH_REGISTRY.register()
class OneOutputProbe(nn.Conv2d):
    """A convolution, which as any network of BasicSR takes an image and gives one."""

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1)


def loader(folders: Any, **options: Any) -> DataLoader:
    """Load the pairs of two folders one by one, as a validation does."""
    opt = {'name': 'Photos', 'phase': 'val', 'dataroot_gt': str(folders.gt), 'dataroot_lq': str(folders.lq), **options}
    return DataLoader(PairedDeblurDataset(opt))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Images this small are worked on faster by one thread than they are dealt out to several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., DeblurModel]:
    """Build a DeblurModel as BasicSR does. Keywords replace whole sections; ``train`` is merged."""

    def make(
        *, is_train: bool = True, train: dict | None = None, path: dict | None = None, **sections: Any
    ) -> DeblurModel:
        options = {
            'name': 'probe',
            'model_type': 'DeblurModel',
            'num_gpu': 0,
            'dist': False,
            'rank': 0,
            'world_size': 1,
            'is_train': is_train,
            'manual_seed': 0,
            'datasets': {},
            'network_g': {'type': 'TwoScaleProbe'},
            'path': {
                'experiments_root': str(tmp_path),
                'models': str(tmp_path / 'models'),
                'training_states': str(tmp_path / 'training_states'),
                'visualization': str(tmp_path / 'visualization'),
                **(path or {}),
            },
            'train': {
                'total_iter': 10,
                'pixel_opt': {'type': 'L1Loss'},
                'fft_opt': {'type': 'FrequencyLoss', 'loss_weight': 0.01},
                **(train or {}),
            },
            'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
            'logger': {'pbar': False},
            **sections,
        }
        for folder in ('models', 'training_states'):
            (tmp_path / folder).mkdir(exist_ok=True)
        torch.manual_seed(0)
        return build_model(deepcopy(options))

    return make


@pytest.fixture
def batch() -> dict[str, Any]:
    """Two pairs of random images, smooth enough for a network to learn something on them."""
    generator = torch.Generator().manual_seed(1)
    gt = nn.functional.interpolate(torch.rand(2, 3, 4, 4, generator=generator), size=(16, 16), mode='bilinear')
    lq = nn.functional.avg_pool2d(gt, 5, stride=1, padding=2)
    return {'lq': lq, 'gt': gt, 'lq_path': ['blur/a.png', 'blur/b.png'], 'gt_path': ['sharp/a.png', 'sharp/b.png']}


@pytest.fixture
def train_for() -> Callable[..., None]:
    """Do iterations as BasicSR's loop does them."""

    def train(model: DeblurModel, batch: dict[str, Any], iterations: range) -> list[float]:
        rates = []
        for iteration in iterations:
            model.update_learning_rate(iteration, warmup_iter=model.opt['train'].get('warmup_iter', -1))
            rates.append(model.get_current_learning_rate()[0])
            model.feed_data(batch)
            model.optimize_parameters(iteration)
        return rates

    return train
