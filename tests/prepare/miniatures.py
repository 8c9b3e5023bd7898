"""The public data sets in small: tiny images under the names, in the folders and with the lists of the downloads.

`from prepare.miniatures import build_gopro_original` works in every test. Each builder fills the folder it is given and
returns it; what it builds is what `--source` takes. Images show a random scene on which the camera moves on from frame
to frame; blurred ones are the mean over a short way.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprftv2_arch.config.known_sets import KNOWN_SETS

SIZE = (48, 64)
"""Height and width of the images."""

GOPRO = {'train': ('GOPR0372_07_00', 'GOPR0374_11_00'), 'test': ('GOPR0384_11_00',)}
HIDE_TEST = {'test-close-ups': ('1fromGOPR0950', '12fromGOPR0950'), 'test-long-shot': ('7fromGOPR1089',)}
REALBLUR = {'train': ('scene001', 'scene002'), 'test': ('scene230',)}


COUNTS = {
    'gopro': {'train': 6, 'test': 3},
    'hide': {'test': 3},
    'realblur_r': {'train': 6, 'test': 3},
    'realblur_j': {'train': 6, 'test': 3},
    'reds': {'train': 40, 'val': 4},
    'dpdd': {'train': 4, 'val': 4, 'test': 4},
    'div2k': {'train': 2},
    'flickr2k': {'train': 1},
    'df2k': {'train': 3},
    'set5': {'test': 2},
    'bsd100': {'test': 2},
}
"""Pairs of each part in what the builders make by default."""


def shrink_known_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the program believe that the public sets are as small as these, so that it takes them for complete."""
    for name, images in COUNTS.items():
        known = KNOWN_SETS[name]
        monkeypatch.setitem(
            KNOWN_SETS, name, known._replace(images=images, size=SIZE if known.size else None, train_crops=None)
        )


def frame(scene: int, index: int, size: tuple[int, int] = SIZE, *, white: int = 255) -> tuple[np.ndarray, np.ndarray]:
    """A blurred and a sharp image (H, W, 3) of a scene; uint16 if `white` needs it."""
    height, width = size
    step, margin = 6, 8
    rng = np.random.default_rng(scene)
    wide = width + step * index + 2 * margin
    # One row of coarse pixels more for every frame, so that the scene stays the same however far the camera goes.
    coarse = rng.random((1024, -(-height // 8) + 1, 3), np.float32)[: -(-wide // 8) + 1].transpose(1, 0, 2)
    canvas = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)[:height]
    left = margin + step * index
    views = [canvas[:, left + shift : left + shift + width] for shift in range(-3, 4)]
    dtype = np.uint8 if white < 256 else np.uint16
    blur, sharp = (np.round(np.clip(view, 0, 1) * white).astype(dtype) for view in (np.mean(views, axis=0), views[3]))
    return blur, sharp


def save(path: Path, image: np.ndarray) -> None:
    """Write an image and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image), path


def build_gopro_original(root: Path, *, frames: int = 3, size: tuple[int, int] = SIZE) -> Path:
    """`{train,test}/SEQUENCE/{blur,blur_gamma,sharp}/NUMBER.png`."""
    for part, sequences in GOPRO.items():
        for scene, sequence in enumerate(sequences):
            for index in range(frames):
                blur, sharp = frame(100 * len(part) + scene, index, size)
                folder, name = root / part / sequence, f'{index + 47:06}.png'
                save(folder / 'blur' / name, blur)
                save(folder / 'blur_gamma' / name, blur // 2)
                save(folder / 'sharp' / name, sharp)
    return root


def build_gopro_flat(root: Path, *, frames: int = 3, size: tuple[int, int] = SIZE) -> Path:
    """`{train,test}/{input,target}/SEQUENCE-NUMBER.png`."""
    for part, sequences in GOPRO.items():
        for scene, sequence in enumerate(sequences):
            for index in range(frames):
                name = f'{sequence}-{index + 47:06}.png'
                _save_pair(root / part, 'input', 'target', name, frame(100 * len(part) + scene, index, size))
    return root


def build_hide_original(root: Path) -> Path:
    """`test/{test-close-ups,test-long-shot}` beside `GT`, which has the sharp images of the training part too."""
    for scene, (half, names) in enumerate(HIDE_TEST.items()):
        for index, name in enumerate(names):
            blur, sharp = frame(10 + scene, index)
            save(root / 'HIDE_dataset' / 'test' / half / f'{name}.png', blur)
            save(root / 'HIDE_dataset' / 'GT' / f'{name}.png', sharp)
    blur, sharp = frame(13, 0)
    save(root / 'HIDE_dataset' / 'train' / '5fromGOPR0996.png', blur)
    save(root / 'HIDE_dataset' / 'GT' / '5fromGOPR0996.png', sharp)
    return root


def build_hide_flat(root: Path) -> Path:
    """`test/HIDE/{input,target}`."""
    for scene, names in enumerate(HIDE_TEST.values()):
        for index, name in enumerate(names):
            _save_pair(root / 'test' / 'HIDE', 'input', 'target', f'{name}.png', frame(10 + scene, index))
    return root


def build_realblur_original(root: Path, camera: str = 'J', *, frames: int = 3) -> Path:
    """`RealBlur-J_.../sceneNNN/{gt,blur}/{gt,blur}_K.png` and the lists, of images that differ in size."""
    noise = {'J': '', 'R': '_BM3D'}[camera]
    top = f'RealBlur-{camera}{noise}_ECC_IMCORR_centroid_itensity_ref'
    for part, scenes in REALBLUR.items():
        lines = []
        for scene in scenes:
            for index in range(1, frames + 1):
                number = int(scene[-3:])
                blur, sharp = frame(20 + number, index, (SIZE[0] + number % 4, SIZE[1] - index))
                names = [f'{top}/{scene}/{role}/{role}_{index}.png' for role in ('gt', 'blur')]
                for name, image in zip(names, (sharp, blur), strict=True):
                    save(root / name, image)
                lines.append(' '.join(names) + ' ')
        (root / f'RealBlur_{camera}_{part}_list.txt').write_text('\n'.join(lines))
    return root


def build_realblur_flat(root: Path, camera: str = 'J', *, frames: int = 3) -> Path:
    """`{train,test}/RealBlur_J/{input,target}/sceneNNN_blur_K.png`."""
    for part, scenes in REALBLUR.items():
        for scene in scenes:
            for index in range(1, frames + 1):
                number = int(scene[-3:])
                pair = frame(20 + number, index, (SIZE[0] + number % 4, SIZE[1] - index))
                _save_pair(root / part / f'RealBlur_{camera}', 'input', 'target', f'{scene}_blur_{index}.png', pair)
    return root


def build_reds_original(root: Path, *, clips: int = 2, frames: int = 20) -> Path:
    """`{train,val}/{train,val}_{blur_jpeg,sharp}/CLIP/FRAME`, JPEG beside PNG."""
    for part in ('train', 'val'):
        for clip in range(clips):
            for index in range(frames):
                blur, sharp = frame(30 + clip + 10 * len(part), index)
                save(root / part / f'{part}_blur_jpeg' / f'{clip:03}' / f'{index:08}.jpg', blur)
                save(root / part / f'{part}_sharp' / f'{clip:03}' / f'{index:08}.png', sharp)
    return root


def build_reds_flat(root: Path, *, clips: int = 2, frames: int = 20) -> Path:
    """`train/{train_blur_jpeg,train_sharp}` and `val/{blur_300,sharp_300}`, files named `CLIP_FRAME`."""
    folders = {'train': ('train_blur_jpeg', 'train_sharp'), 'val': ('blur_300', 'sharp_300')}
    for part, (blurred, clear) in folders.items():
        for clip in range(clips):
            for index in range(frames):
                if part == 'train' or index % 10 == 9:
                    blur, sharp = frame(30 + clip + 10 * len(part), index)
                    save(root / part / blurred / f'{clip:03}_{index:08}.jpg', blur)
                    save(root / part / clear / f'{clip:03}_{index:08}.png', sharp)
    return root


def build_dpdd_original(root: Path, *, count: int = 4, size: tuple[int, int] = SIZE) -> Path:
    """`{train,val,test}_{c,l,r}/{source,target}`, 16 bit; the sharp image has the number after the blurred one."""
    for start, part in [(890, 'train'), (990, 'val'), (1090, 'test')]:
        for index in range(count):
            blur, sharp = frame(start + index, 0, size, white=65535)
            for view, suffix in [('c', ''), ('l', '_L'), ('r', '_R')]:
                number = start + 2 * index
                save(root / f'{part}_{view}' / 'source' / f'1P0A{number:04}{suffix}.png', blur)
                save(root / f'{part}_{view}' / 'target' / f'1P0A{number + 1:04}.png', sharp)
    return root


def build_dpdd_flat(root: Path, *, count: int = 4, size: tuple[int, int] = SIZE) -> Path:
    """`{train,val,test}/DPDD/{inputC,inputL,inputR,target}` with equal names, and the label files."""
    for start, part in [(890, 'train'), (990, 'val'), (1090, 'test')]:
        for index in range(count):
            blur, sharp = frame(start + index, 0, size, white=65535)
            name = f'1P0A{start + 2 * index:04}.png'
            _save_pair(root / part / 'DPDD', 'inputC', 'target', name, (blur, sharp))
            save(root / part / 'DPDD' / 'inputL' / name, blur)
            save(root / part / 'DPDD' / 'inputR' / name, blur)
    np.save(root / 'test' / 'DPDD' / 'indoor_labels.npy', np.arange(1, count, 2))
    np.save(root / 'test' / 'DPDD' / 'outdoor_labels.npy', np.arange(2, count + 1, 2))
    return root


def high_resolution(scene: int, size: tuple[int, int]) -> np.ndarray:
    """A sharp image (H, W, 3) with detail at every scale."""
    return frame(200 + scene, 0, size)[1]


def build_div2k(root: Path, *, scales: tuple[int, ...] = (2, 3, 4), count: int = 2) -> Path:
    """`DIV2K_train_HR/0001.png` and `DIV2K_train_LR_bicubic/X2/0001x2.png`, just larger than a sub-image."""
    return _build_pyramids(root, 'DIV2K_train_HR', 'DIV2K_train_LR_bicubic', '{:04}', scales, count)


def build_df2k(root: Path, *, scales: tuple[int, ...] = (2, 3, 4)) -> Path:
    """DIV2K and `Flickr2K_HR/000001.png`, `Flickr2K_LR_bicubic/X2/000001x2.png`."""
    build_div2k(root / 'DIV2K', scales=scales)
    _build_pyramids(root / 'Flickr2K', 'Flickr2K_HR', 'Flickr2K_LR_bicubic', '{:06}', scales, 1)
    return root


def _build_pyramids(root: Path, hr: str, lr: str, name: str, scales: tuple[int, ...], count: int) -> Path:
    for index in range(1, count + 1):
        image, stem = high_resolution(index, (492, 744)), name.format(index)
        save(root / hr / f'{stem}.png', image)
        for scale in scales:
            save(root / lr / f'X{scale}' / f'{stem}x{scale}.png', reduced(image, scale))
    return root


def reduced(image: np.ndarray, scale: int) -> np.ndarray:
    """The mean of each square of `scale` pixels: a low-resolution image that no bicubic reduction gives."""
    height, width = (side - side % scale for side in image.shape[:2])
    return cv2.resize(image[:height, :width], (width // scale, height // scale), interpolation=cv2.INTER_AREA)


BENCHMARK = {'set5': ('Set5', ('baby', 'bird')), 'bsd100': ('B100', ('101085', '101087'))}
"""Folder and images of the two test sets that stand for all five."""


def build_benchmark(root: Path, layout: str) -> Path:
    """Set5 and BSD100 with two images each, whose sides (50 and 65 pixels) are no multiples of the scales.

    Args:
        root: Folder to fill.
        layout: Whose copy: `edsr`, `basicsr`, `rcan`, `selfexsr`, or `plain` for high-resolution images alone.
    """
    for folder, names in BENCHMARK.values():
        for index, name in enumerate(names):
            image = high_resolution(10 * len(folder) + index, (50, 65))
            if layout == 'plain':
                save(root / folder / f'{name}.png', image)
            for scale in (2, 3, 4) * (layout != 'plain'):
                low = reduced(image[:48, :60] if layout == 'basicsr' else image, scale)
                gt = image[: 50 - 50 % scale, : 65 - 65 % scale]
                files = {
                    'edsr': (f'{folder}/HR/{name}', image, f'{folder}/LR_bicubic/X{scale}/{name}x{scale}'),
                    'basicsr': (f'{folder}/GTmod12/{name}', image[:48, :60], f'{folder}/LRbicx{scale}/{name}'),
                    'rcan': (
                        f'HR/{folder}/x{scale}/{name}_HR_x{scale}',
                        gt,
                        f'LR/LRBI/{folder}/x{scale}/{name}_LRBI_x{scale}',
                    ),
                    'selfexsr': (
                        f'{folder}/image_SRF_{scale}/img_{index + 1:03}_SRF_{scale}_HR',
                        gt,
                        f'{folder}/image_SRF_{scale}/img_{index + 1:03}_SRF_{scale}_LR',
                    ),
                }
                hr_file, hr, lr_file = files[layout]
                save(root / f'{hr_file}.png', hr)
                save(root / f'{lr_file}.png', low)
    return root


def _save_pair(folder: Path, blurred: str, clear: str, name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    for role, image in zip((blurred, clear), pair, strict=True):
        save(folder / role / name, image)
