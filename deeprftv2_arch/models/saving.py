"""The checkpoints of a training: where they lie, what is in a state, and which of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from deeprftv2_arch.checkpoints.io import plain_weights, save_checkpoint
from deeprftv2_arch.checkpoints.resume import training_fingerprint


class CheckpointKeeper:
    """Writes states, finds weights, and removes old checkpoints. Only rank 0 writes or removes anything.

    * ``logger.keep_checkpoints``: how many of the numbered checkpoints stay, the newest ones; by default all.

    Args:
        options: All options of a training, as BasicSR has parsed them.
        keep: How many of the numbered checkpoints stay; None for all.

    Raises:
        UserError: For wrong stages.
    """

    def __init__(self, options: Mapping[str, Any], keep: int | None = None) -> None:
        self._models = Path(options['path']['models'])
        self._states = Path(options['path']['training_states'])
        self._fingerprint = training_fingerprint(options)
        self._keep = keep

    @property
    def best(self) -> Path:
        """The best weights by ``val.best``."""
        return self.weights('best')

    @property
    def validations(self) -> Path:
        """What was known after each validation."""
        return self._states / 'validations.pth'

    def weights(self, label: int | str) -> Path:
        """Return the file of the weights of an iteration."""
        return self._models / f'net_g_{label}.pth'

    def state(self, iteration: int) -> Path:
        """Return the file of the state of an iteration."""
        return self._states / f'{iteration}.state'

    @master_only
    def write_state(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Write all that the next iterations depend on beside the weights.

        Raises:
            UserError: The file cannot be written.
        """
        save_checkpoint({**state, 'options': self._fingerprint}, self.state(iteration))

    @master_only
    def write_best(self, best: Mapping[str, Any], net: nn.Module, net_ema: nn.Module | None) -> None:
        """Write the best weights so far.

        Args:
            best: What is known of them, see :class:`~.validation_history.ValidationHistory`.
            net: The network, bare.
            net_ema: The running mean of its weights, if there is one.

        Raises:
            UserError: The file cannot be written.
        """
        content = {'params': plain_weights(net), 'best': best}
        if net_ema is not None:
            content['params_ema'] = plain_weights(net_ema)
        save_checkpoint(content, self.best)
        get_root_logger().info(
            f'Best {best["metric"]} on {best["data"]} so far: {best["value"]:.4f}. Kept {self.best.name}.'
        )

    @master_only
    def prune(self, iteration: int) -> None:
        """Remove old checkpoints, each state before its weights, so that no state is left without them.

        Args:
            iteration: The checkpoint just written. Those of later iterations were found unusable when the training was
                resumed; they do not count.
        """
        if self._keep is None:
            return
        written = [number for number in self._numbers() if number <= iteration]
        for number in written[: -self._keep]:
            self.state(number).unlink(missing_ok=True)
            self.weights(number).unlink(missing_ok=True)

    def restart_hint(self) -> str:
        """Say what to start again from: a sentence that goes on with what to change."""
        numbers = self._numbers()
        if not numbers:
            return 'No checkpoint was saved before. Begin anew'
        return (
            f'The last good checkpoint is {self.weights(numbers[-1])}. Begin a training under another name from those '
            'weights, with path.pretrain_network_g and'
        )

    def _numbers(self) -> list[int]:
        """Return the iterations that have a state, in order."""
        return sorted(int(path.stem) for path in self._states.glob('*.state') if path.stem.isdigit())
