"""A progress bar over the iterations of a training that leaves the log readable."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from basicsr.utils import get_root_logger
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class TrainingBar:
    """A bar on stderr with iteration, remaining time, loss, learning rate, crop size and images per second.

    While it is open, lines of BasicSR's log are written above it.

    Args:
        total: Number of the last iteration.
        done: Iterations done before, by the training that is resumed.
    """

    def __init__(self, total: int, done: int = 0) -> None:
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
        shown = {'loss': f'{loss:.4f}', 'lr': f'{learning_rate:.2e}', 'crop': f'{crop[1]}x{crop[0]}'}
        self._bar.set_postfix({**shown, 'img/s': f'{rate:.3g}'}, refresh=False)
        self._bar.update()
        if self._bar.n >= self._bar.total:
            self.close()

    def close(self) -> None:
        """Leave the bar as it stands and give the log back its console. Closing twice does nothing."""
        self._stack.close()
