"""Steps of the optimizer that are skipped because the loss or its gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from basicsr.utils import get_root_logger
from torch import Tensor

from deeprftv2_arch.utils.errors import UserError


class BadSteps:
    """Counts skipped steps.

    Args:
        limit: How many in a row end the training, ``train.max_bad_steps``.
        restart_hint: Says what to start again from: a sentence that goes on with what to change.

    Attributes:
        in_a_row: Skipped since the last step that was done.
        total: Skipped in all.
    """

    def __init__(self, limit: int, restart_hint: Callable[[], str]) -> None:
        self.in_a_row = 0
        self.total = 0
        self._limit = limit
        self._restart_hint = restart_hint

    def skip(self, iteration: int, loss: float, norm: float) -> None:
        """Count a skipped step, with a warning.

        Raises:
            UserError: If too many were skipped in a row.
        """
        self.in_a_row += 1
        self.total += 1
        found = (
            f'Iteration {iteration}: the loss ({loss:g}) or the norm of its gradient ({norm:g}) is not finite, though '
            'the images are'
        )
        get_root_logger().warning(f'{found}. The step is skipped: {self.in_a_row} in a row, {self.total} in all.')
        if self.in_a_row >= self._limit:
            raise UserError(
                f'{found}: {self._limit} such steps in a row, the limit of train.max_bad_steps. '
                f'{self._restart_hint()} with a lower train.optim_g.lr.'
            )

    def step(self) -> None:
        """Take note of a step that was done."""
        self.in_a_row = 0

    def state(self) -> dict[str, int]:
        """Return what belongs into the state of a training."""
        return {'in_a_row': self.in_a_row, 'total': self.total}

    def resume(self, state: Mapping[str, int]) -> None:
        """Go on counting from a state."""
        self.in_a_row, self.total = state['in_a_row'], state['total']


def damaged_images(images: Mapping[str, Tensor], names: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the images of a batch that hold NaN or infinite pixels.

    Args:
        images: (N, C, H, W) by their role, ``lq`` or ``gt``.
        names: Their files, as far as they are known.
    """
    damaged = []
    for role, batch in images.items():
        for index, image in enumerate(batch):
            if not image.isfinite().all():
                known = index < len(names[role])
                damaged.append(names[role][index] if known else f'{role} image {index} of the batch')
    return damaged
