"""Speed of the data loader beside BasicSR's, in one run: `python benchmarks/loader.py`.

Both read the same pairs in turns, in the same order and with the same number of workers, and cut crops of 256 with
flips and turns; the fastest epoch of each counts. The images are made up: noise of several scales, which as PNG takes
about as much room as a photograph.

* LMDBs as they are made of GoPro: 16,824 keys, crops of 512x512. Only `--crops` of the keys, evenly spread, hold a
  crop and are read; the others hold one byte, so that the files stay small. `--crops 16824` fills them all (16 GB).
* Folders of whole 1280x720 photographs.
* The names of 24,000 pairs, as REDS has them, are paired in empty files.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from machine import MB, describe, fastest_in_turns, seconds
from torch.utils.data import DataLoader, Dataset, Subset

import deeprftv2_arch  # noqa: F401

# isort: split
from basicsr.data.paired_image_dataset import PairedImageDataset

from deeprftv2_arch.data import PairedDeblurDataset
from deeprftv2_arch.data.pairing import pair_folders

KEYS, PAIRS = 16_824, 24_000
ROLES = ('gt', 'lq')


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several scales: random images, each half as fine and twice as strong as the one before."""
    layers = [
        cv2.resize(rng.normal(0, 2.0 * side, (-(-height // side), -(-width // side), 3)), (width, height))
        for side in (1, 2, 4, 8, 16)
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def write_databases(folder: Path, crops: int) -> tuple[dict[str, Any], list[int]]:
    """Write two LMDBs; return the options of a data set on them and the indices of the keys that hold a crop."""
    keys = [f'{number:05}_s{crop:03}' for number in range(KEYS // 8) for crop in range(1, 9)]
    filled = dict.fromkeys(np.linspace(0, KEYS - 1, crops).astype(int).tolist())
    written, rng = 0, np.random.default_rng(0)
    for role in ROLES:
        (folder / f'{role}.lmdb').mkdir()
        # No crop takes more than its 768 KB of pixels and a little.
        with (
            lmdb.open(str(folder / f'{role}.lmdb'), map_size=(crops + 64) * MB) as database,
            database.begin(write=True) as store,
        ):
            for index, key in enumerate(keys):
                value = png(photograph(rng, 512, 512)) if index in filled else b'\0'
                store.put(key.encode(), value)
                written += len(value)
        (folder / f'{role}.lmdb' / 'meta_info.txt').write_text(''.join(f'{key}.png (512,512,3) 1\n' for key in keys))
    mean = written / crops / len(ROLES)
    print(f'LMDBs: {KEYS:,} keys, {crops:,} of them with a crop of 512x512, {mean / 1024:.0f} KB on average')
    return options(folder / 'gt.lmdb', folder / 'lq.lmdb', 'lmdb'), list(filled)


def write_folders(folder: Path, images: int) -> tuple[dict[str, Any], list[int]]:
    """Write two folders of photographs; return the options of a data set on them and the indices to read."""
    rng = np.random.default_rng(1)
    for role in ROLES:
        (folder / role).mkdir()
        for index in range(images):
            (folder / role / f'{index:06}.png').write_bytes(png(photograph(rng, 720, 1280)))
    print(f'Folders: {images} photographs of 1280x720')
    return options(folder / 'gt', folder / 'lq', 'disk'), list(range(images))


def options(gt: Path, lq: Path, backend: str) -> dict[str, Any]:
    roots = {'dataroot_gt': str(gt), 'dataroot_lq': str(lq), 'io_backend': {'type': backend}}
    return {'name': 'pairs', 'phase': 'train', 'scale': 1, 'gt_size': 256, 'use_hflip': True, 'use_rot': True, **roots}


def compare(title: str, section: dict[str, Any], indices: list[int], args: argparse.Namespace) -> None:
    datasets: dict[str, Dataset] = {'ours': PairedDeblurDataset(section), 'BasicSR': PairedImageDataset(section)}

    def epoch(name: str) -> None:
        loader = DataLoader(Subset(datasets[name], indices), batch_size=4, num_workers=args.workers)
        for batch in loader:
            assert batch['gt'].shape[1:] == (3, 256, 256)

    times = fastest_in_turns(epoch, datasets, args.rounds)
    rates = {name: len(indices) / time for name, time in times.items()}
    print(
        f'{title:28} {rates["ours"]:12.1f} {rates["BasicSR"]:12.1f} {rates["ours"] / rates["BasicSR"]:8.2f}', flush=True
    )


def time_pairing(folder: Path) -> float:
    for role, suffix in zip(ROLES, ('png', 'jpg'), strict=True):
        (folder / role).mkdir()
        for index in range(PAIRS):
            (folder / role / f'{index // 100:03}_{index % 100:08}.{suffix}').touch()
    return min(seconds(lambda: pair_folders(str(folder / 'gt'), str(folder / 'lq'))) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--crops', type=int, default=256, help='keys of the LMDBs that hold a crop and are read')
    parser.add_argument('--images', type=int, default=48, help='photographs in the folders')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=4)
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, name) for name in ('lmdb', 'disk', 'names')]
        for folder in folders:
            folder.mkdir()
        databases, photographs = write_databases(folders[0], args.crops), write_folders(folders[1], args.images)
        print(f'\n{args.workers} workers, pairs per second {"ours":>14} {"BasicSR":>12} {"ratio":>8}')
        compare('LMDB of crops', *databases, args)
        compare('folder of whole photographs', *photographs, args)
        print(f'\n{PAIRS:,} pairs by name: {time_pairing(folders[2]):.2f} s')


if __name__ == '__main__':
    main()
