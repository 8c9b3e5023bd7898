"""Where the images of an evaluation are written: restored images, and contact sheets of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils import tensor2img
from torch import Tensor

from deeprftv2_arch.evaluation import contact_sheet
from deeprftv2_arch.utils.image_write import write_image
from deeprftv2_arch.utils.paths import expand


class ImageFiles:
    """Writes images below the folders that BasicSR made for a run.

    Args:
        options: All options of the run, as BasicSR has parsed them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.is_train = options['is_train']
        self.suffix = (options.get('val') or {}).get('suffix') or options['name']
        self.folder = Path(options['path']['visualization'])
        # A test makes no contact sheets, and has no such folder.
        self.sheets = Path(options['path'].get('experiments_root') or '', contact_sheet.FOLDER)

    def write_restored(self, image: Tensor, lq_path: str, dataset: Mapping[str, Any], label: int | str) -> None:
        """Write a restored image; sub-folders of the data set are kept, for their files may share names.

        It has 8 bits, or 16 where the data set says ``bit_depth: 16``.

        Args:
            image: (1, 3, H, W), RGB, clipped here to [0, 1].
            lq_path: The file that was restored, or its LMDB key.
            dataset: The data set's section of the option file.
            label: Iteration of the training; not used in a test.

        Raises:
            UserError: The file cannot be written.
        """
        name = _name_below_root(lq_path, dataset)
        if self.is_train:
            path = self.folder / name / f'{name.name}_{label}.png'
        else:
            path = self.folder / dataset['name'] / name.parent / f'{name.name}_{self.suffix}.png'
        if dataset.get('bit_depth') == 16:
            pixels = np.rint(tensor2img(image, out_type=np.float32) * 65535).astype(np.uint16)
        else:
            pixels = tensor2img(image)
        write_image(pixels, path)

    def write_contact_sheet(self, images: Sequence[Tensor], lq_path: str, dataset: Mapping[str, Any]) -> None:
        """Write images side by side, in the place of those of the last validation.

        Args:
            images: Each (1, 3, H, W), RGB, clipped here to [0, 1]; the last one has full size.
            lq_path: The file that was restored, or its LMDB key.
            dataset: The data set's section of the option file.

        Raises:
            UserError: The file cannot be written.
        """
        sheet = contact_sheet.side_by_side([tensor2img(image) for image in images])
        name = _name_below_root(lq_path, dataset)
        write_image(sheet, self.sheet_folder(dataset['name']) / f'{name}.png')

    def sheet_folder(self, dataset: str) -> Path:
        """Return the folder of the contact sheets of a data set; the report looks for them there."""
        return self.sheets / dataset


def _name_below_root(lq_path: str, dataset: Mapping[str, Any]) -> Path:
    """Return the path of an image below the folder of its data set, without extension; an LMDB's key as it is."""
    path = Path(lq_path)
    if (dataset.get('io_backend') or {}).get('type') == 'lmdb':
        return path
    root = Path(expand(dataset.get('dataroot_lq') or ''))
    name = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return name.with_suffix('')
