"""The progress of a training: a bar that leaves the log readable, and the log of values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from deeprftv2_arch.models.training_log import FILE_NAME, TrainingLog


class TrainingBar:
    """A bar on stderr with iteration, remaining time, loss, learning rate, crop size and images per second.

    While it is open, lines of BasicSR's log are written above it.

    Args:
        total: Number of the last iteration.
        done: Iterations done before, by the training that is resumed.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total = total
        self._stack = ExitStack()
        self._stack.enter_context(logging_redirect_tqdm(loggers=[get_root_logger()]))
        # Without a terminal every refresh is a new line of a log file.
        interval = 0.5 if sys.stderr.isatty() else 15
        self._bar = self._stack.enter_context(
            tqdm(total=total, initial=done, desc='Training', unit='it', mininterval=interval, dynamic_ncols=True)
        )

    def update(self, loss: float, learning_rate: float, crop: tuple[int, int], images: int) -> None:
        """Count one iteration; the bar closes by itself after the last one.

        Args:
            loss: The total loss.
            learning_rate: The rate of this iteration.
            crop: Height and width of the images in pixels.
            images: Images of this iteration, over all processes.
        """
        rate = (self._bar.format_dict['rate'] or 0) * images
        shown = {
            'loss': f'{loss:.4f}',
            'lr': f'{learning_rate:.2e}',
            'crop': f'{crop[1]}x{crop[0]}',
            'img/s': f'{rate:.3g}',
        }
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()
        if self._bar.n >= self._total:
            self.close()

    def close(self) -> None:
        """Leave the bar as it stands and give the log back its console. Closing twice does nothing."""
        self._stack.close()


class TrainingProgress:
    """Shows a bar and writes the log of values. Only rank 0 does anything.

    * ``logger.pbar``: whether there is a bar; by default where stderr is a terminal.

    Args:
        options: All options of a training, as BasicSR has parsed them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._is_first = options['rank'] == 0
        self._file = Path(options['path']['experiments_root'], FILE_NAME)
        self._total = int(options['train']['total_iter'])
        self._shows_bar = options['logger'].get('pbar')
        if self._shows_bar is None:
            self._shows_bar = sys.stderr.isatty()
        self._log: TrainingLog | None = None
        self._bar: TrainingBar | None = None

    def update(self, iteration: int, *, loss: float, learning_rate: float, crop: tuple[int, int], images: int) -> None:
        """Count an iteration; the first one opens log and bar.

        Args:
            iteration: Its number.
            loss: The total loss.
            learning_rate: The rate of this iteration.
            crop: Height and width of the images in pixels.
            images: Images of this iteration, over all processes.

        Raises:
            UserError: The log cannot be written.
        """
        if not self._is_first:
            return
        if self._log is None:
            self._log = TrainingLog(self._file, done=iteration - 1)
            if self._shows_bar:
                self._bar = TrainingBar(self._total, done=iteration - 1)
        self._log.count_images(images)
        if self._bar is not None:
            self._bar.update(loss, learning_rate, crop, images)

    def log_training(self, iteration: int, values: Mapping[str, float], rate: float, crop: tuple[int, int]) -> None:
        """Write the values of an iteration, see :meth:`~.training_log.TrainingLog.add_training`."""
        if self._log is not None:
            self._log.add_training(iteration, values, rate, crop)

    def log_validation(self, iteration: int, dataset: str, values: Mapping[str, float]) -> None:
        """Write the metric values of a validation, if any iteration was done before it."""
        if self._log is not None:
            self._log.add_validation(iteration, dataset, values)

    def close(self) -> None:
        """Leave the bar as it stands. Closing twice does nothing."""
        if self._bar is not None:
            self._bar.close()
