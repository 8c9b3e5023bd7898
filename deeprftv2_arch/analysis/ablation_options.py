"""Option files of the paper's ablations: one recipe (section 5), the network of each row."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml

from deeprftv2_arch.analysis.ablations import Ablation

_SET = {'name': 'GoPro', 'type': 'PairedDeblurDataset', 'io_backend': {'type': 'disk'}}

# What options/train_gopro_s.yml, the file of row 14 of table 6, has besides name and network.
RECIPE: Mapping[str, Any] = {
    'model_type': 'DeblurModel',
    'num_gpu': 'auto',
    'manual_seed': 100,
    'datasets': {
        'train': {
            **_SET,
            'dataroot_gt': 'datasets/GoPro/train/sharp',
            'dataroot_lq': 'datasets/GoPro/train/blur',
            'augmentation': 8,
            'num_worker_per_gpu': 8,
            'persistent_workers': True,
            'batch_size_per_gpu': 2,
        },
        'val': {
            **_SET,
            'name': 'GoPro-test',
            'dataroot_gt': 'datasets/GoPro/test/sharp',
            'dataroot_lq': 'datasets/GoPro/test/blur',
        },
    },
    'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
    'train': {
        'stages': [{'gt_size': 256, 'total_batch': 16, 'iterations': 200000}],
        'total_iter': 200000,
        'warmup_iter': -1,
        'optim_g': {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9], 'weight_decay': 1e-3},
        'scheduler': {'type': 'CosineAnnealingLR', 'eta_min': 1e-7},
        'grad_clip': 0.01,
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        'fft_opt': {'type': 'FrequencyLoss', 'loss_weight': 0.01, 'reduction': 'mean'},
    },
    'val': {
        'val_freq': 20000,
        'save_img': False,
        'pbar': True,
        'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False}},
    },
    'logger': {'print_freq': 200, 'save_checkpoint_freq': 10000, 'use_tb_logger': True},
    'dist_params': {'backend': 'nccl', 'port': 29500},
}
# How the paper tested its ablations is not said; as options/train_gopro_s.yml validates.
_TILES = {'tile': 512, 'tile_overlap': 48}


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out in full, not as anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def ablation_options(ablation: Ablation) -> dict[str, Any]:
    """Return the options of the training of a row: GoPro, batch 16, crops 256, 200,000 iterations."""
    options: dict[str, Any] = {'name': f'{ablation.name}_GoPro', **deepcopy(dict(RECIPE))}
    options['network_g'] = deepcopy({**ablation.network, **_TILES})
    return options


def narrowed(network: Mapping[str, Any], width: int) -> dict[str, Any]:
    """Return the arguments of a network whose width is to that of the row as ``width`` is to the paper's 48."""
    return {**network, 'width': max(1, round(network['width'] * width / 48))}


def option_file_text(options: Mapping[str, Any], ablation: Ablation) -> str:
    """Return the text of an option file, with a head that says what is certain of the row."""
    published = 'PSNR: cannot be read' if ablation.psnr is None else f'PSNR: {ablation.psnr:.2f} dB on GoPro'
    if ablation.gflops is not None:
        published += f', {ablation.gflops:g} GFLOPs at 256x256'
    said = [
        f'Table {ablation.table}, row {ablation.row} of the DeepRFTv2 paper: {ablation.says}.',
        f'Published {published}.',
        ablation.certain,
        'Trained as all ablations of the paper: GoPro, batch 16, crops of 256, 200,000 iterations.',
        'How they were tested is not said; here in tiles of 512 that share 48, as options/train_gopro_s.yml validates.',
    ]
    head = [f'# {line}' for text in said for line in textwrap.wrap(text, 118)]
    body = yaml.dump(dict(options), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)
    return '\n'.join([*head, '', body])
