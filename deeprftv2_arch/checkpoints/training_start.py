"""Where a training starts: what the patched steps of BasicSR's script tell the loader, the model and the launcher."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

_KEY = 'training_start'


@dataclass
class TrainingStart:
    """Where a training starts.

    Attributes:
        iteration: Iterations done by the training that is resumed; 0 for a new one.
        manual_seed: Seed of the training that is resumed; None for a new one and if BasicSR itself wrote the state.
        data_before: Identity of the data of the training that is resumed, likewise.
        data: Identity of the data in use; None with a loader of BasicSR.
        epoch: Epoch that the next iteration lies in; None with a loader of BasicSR.
    """

    iteration: int = 0
    manual_seed: int | None = None
    data_before: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    epoch: int | None = None

    @classmethod
    def after(cls, state: Mapping[str, Any]) -> TrainingStart:
        """Return the start of a training that goes on from a state."""
        return cls(state['iter'], state.get('manual_seed'), state.get('data'))


def training_start(options: Mapping[str, Any]) -> TrainingStart:
    """Return where the training of these options starts.

    It lies among the options, the one thing that BasicSR's script hands from step to step.
    """
    return options.get(_KEY) or TrainingStart()


def set_training_start(options: MutableMapping[str, Any], start: TrainingStart) -> None:
    """Put it among the options, for the steps that follow."""
    options[_KEY] = start
