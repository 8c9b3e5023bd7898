"""What a training knows from its validations: the best values so far, and whether they still improve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only

from deeprftv2_arch.checkpoints.io import read_checkpoint, save_checkpoint
from deeprftv2_arch.config.schema import DeblurValOptions
from deeprftv2_arch.evaluation.results import DatasetResult
from deeprftv2_arch.evaluation.scores import better


class ValidationHistory:
    """Keeps the best metric values. All processes see the same.

    * ``val.best``: a name out of ``val.metrics``. The weights with its best value, on the first of the validation sets,
      are kept as ``models/net_g_best.pth``. Images restored without any difference, whose PSNR is infinite, are left
      out of the mean that decides; a mean that is not finite otherwise decides nothing.
    * ``val.patience``: after how many validations in a row without a better value of ``val.best`` the training ends.

    Args:
        val: The section ``val`` of the options; None for none.
        file: Where the history is written after each validation: it comes after the state of its iteration.
        best_weights: Where the best weights are kept, for messages.

    Attributes:
        best: Data set, metric, value and iteration of the best validation by ``val.best``, and how many came since.
        best_metric_results: The best value of each metric on each data set, as BasicSR keeps and logs it.
        stop_reason: Why the training is to end; empty as long as it is not.
    """

    def __init__(self, val: DeblurValOptions | None, file: Path, best_weights: Path) -> None:
        self._metric = val.best if val else None
        self._patience = val.patience if val else None
        self._file = file
        self._best_weights = best_weights
        self._history: dict[Any, dict[str, Any]] = {}
        self.best: dict[str, Any] | None = None
        self.best_metric_results: dict[str, dict[str, dict[str, Any]]] = {}
        self.stop_reason = ''

    def add(self, result: DatasetResult, iteration: int) -> bool:
        """Take the result of a validation.

        Returns:
            Whether it is the best so far by ``val.best``: then its weights are to be kept.
        """
        means = result.scores.means()
        self._update_best_values(result, means, iteration)
        if self._metric is None or (self.best is not None and result.name != self.best['data']):
            return False
        direction = better(result.metrics[self._metric])
        value = result.scores.deciding_mean(self._metric, direction)
        if value is None:
            get_root_logger().warning(
                f'val.best: {self._metric} on {result.name} is {means[self._metric]} after iteration {iteration}, and '
                'decides nothing.'
            )
            return False
        if self.best is None or _improves(value, self.best['value'], direction):
            self.best = {'data': result.name, 'metric': self._metric, 'value': value, 'iter': iteration, 'since': 0}
            return True
        self.best['since'] += 1
        if self._patience is not None and self.best['since'] >= self._patience:
            self.stop_reason = (
                f'{self._metric} on {result.name} has not improved in {self.best["since"]} validations (val.patience); '
                f'its best, {self.best["value"]:.4f}, is of iteration {self.best["iter"]}: {self._best_weights}.'
            )
        return False

    def state(self) -> dict[str, Any]:
        """Return what belongs into the state of a training."""
        return {'best': self.best, 'best_metric_results': self.best_metric_results}

    @master_only
    def write(self, iteration: int) -> None:
        """Write what is known after the validation of an iteration.

        Raises:
            UserError: The file cannot be written.
        """
        self._history[iteration] = deepcopy(self.state())
        save_checkpoint(self._history, self._file)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with what was known after the iteration of a state; validations after it do not count."""
        if self._file.is_file():
            history: Mapping[Any, Any] = read_checkpoint(self._file)
            self._history = {iteration: known for iteration, known in history.items() if iteration <= state['iter']}
        known = state
        if self._history:
            known = self._history[max(self._history)]
        self.best_metric_results.clear()
        self.best_metric_results.update(deepcopy(known.get('best_metric_results', {})))
        best = known.get('best')
        if best and best['metric'] == self._metric:
            self.best = dict(best)

    def _update_best_values(self, result: DatasetResult, means: Mapping[str, float], iteration: int) -> None:
        best = self.best_metric_results.setdefault(result.name, {})
        for metric, value in means.items():
            direction = better(result.metrics[metric])
            decided = result.scores.deciding_mean(metric, direction)
            if decided is not None:
                value = decided
            elif metric in best:
                continue
            # Of equal values the last one counts, as in BasicSR.
            if metric not in best or value == best[metric]['val'] or _improves(value, best[metric]['val'], direction):
                best[metric] = {'better': direction, 'val': value, 'iter': iteration}


def _improves(value: float, best: float, direction: str) -> bool:
    if not math.isfinite(best):
        return math.isfinite(value)
    return value > best if direction == 'higher' else value < best
