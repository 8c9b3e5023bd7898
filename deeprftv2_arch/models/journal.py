"""What a training has logged, kept for curves: losses, learning rate, speed, figures of validations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from deeprftv2_arch.models.training_log import FILE_NAME, ValueLog


class Journal:
    """Writes what is logged to the value log of an experiment, and knows how many images were seen in which time.

    Args:
        folder: Folder of the experiment.
        done: Iterations done before, by the training that is resumed.

    Raises:
        UserError: If the log cannot be written.
    """

    def __init__(self, folder: str | Path, done: int) -> None:
        self._log = ValueLog(Path(folder, FILE_NAME), done)
        self._since = time.perf_counter()
        self._images = 0

    def saw(self, images: int) -> None:
        """Count the images of an iteration, over all processes."""
        self._images += images

    def training(
        self, iteration: int, logged: Mapping[str, float], learning_rate: float, crop: tuple[int, int]
    ) -> None:
        """Write the values of a training iteration, and the images per second since the last such call.

        Raises:
            UserError: If the log cannot be written.
        """
        now = time.perf_counter()
        speed, self._since, self._images = self._images / (now - self._since), now, 0
        values = {**logged, 'lr': learning_rate, 'crop_height': crop[0], 'crop_width': crop[1]}
        self._log.add(iteration, {f'train/{name}': value for name, value in values.items()})
        self._log.add(iteration, {'train/images_per_second': speed})

    def validation(self, iteration: int, dataset: str, figures: Mapping[str, float]) -> None:
        """Write the figures of a validation; the time it took does not count as training.

        Raises:
            UserError: If the log cannot be written.
        """
        self._log.add(iteration, {f'val/{dataset}/{name}': value for name, value in figures.items()})
        self._since, self._images = time.perf_counter(), 0
