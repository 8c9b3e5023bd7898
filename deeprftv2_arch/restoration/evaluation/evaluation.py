"""One evaluation: which images there are, what is measured on them, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from deeprftv2_arch.restoration.evaluation import filters
from deeprftv2_arch.restoration.evaluation.measuring import Gains, change_of_sharp, gains_on_pairs, gains_on_scenes
from deeprftv2_arch.restoration.evaluation.pairs import Pair
from deeprftv2_arch.restoration.evaluation.scenes import AlignedScene, Scene, open_scene
from deeprftv2_arch.restoration.restorer import Restorer, array_to_tensor, tensor_to_array
from deeprftv2_arch.utils.errors import UserError

Item = TypeVar('Item')

Progress = Callable[[Iterable[Item], str], Iterable[Item]]
"""Goes through what it is given, and tells under a label how far it is; as tqdm does."""


@dataclass
class Evaluation:
    """What was measured.

    Attributes:
        network: Name of the network.
        weights: Name of the file of weights.
        digest: SHA-256 of that file.
        pairs: Gains on synthetic pairs by method, the network last.
        sharp: PSNR in dB of sharp images after restoring against before, by name.
        scenes: Gains of the network on really blurred photographs, if any could be aligned.
        correlations: How well each scene could be aligned.
        left_out: Scenes that could not.
        suspect: Images whose output the guard found not to look like its input.
    """

    network: str
    weights: str
    digest: str
    pairs: dict[str, Gains] = field(default_factory=dict)
    sharp: dict[str, float] = field(default_factory=dict)
    scenes: Gains | None = None
    correlations: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)


def evaluate(
    restorer: Restorer, weights: Path, pairs: Sequence[Pair], scenes: Sequence[Scene], progress: Progress
) -> Evaluation:
    """Measure a network on pairs and scenes, and on the sharp images of both.

    Args:
        restorer: What restores.
        weights: The file that it was loaded from.
        pairs: Blurred and sharp images that cover each other; may be empty.
        scenes: Really blurred photographs; may be empty.
        progress: Tells how far it is.

    Raises:
        UserError: The network enlarges, or a photograph cannot be read.
    """
    if restorer.scale != 1:
        raise UserError(f'{weights} enlarges by {restorer.scale}; evaluate-photos measures what keeps the size.')
    found = Evaluation(restorer.network.name, weights.name, hashlib.sha256(weights.read_bytes()).hexdigest())

    def restore(image: np.ndarray) -> np.ndarray:
        restored = restorer.run(array_to_tensor(image))
        if restored.suspect:
            found.suspect.append(restored.suspect)
        return tensor_to_array(restored.image, image.dtype)

    if pairs:
        for fitted in (
            filters.fit_unsharp_mask(progress(pairs, 'fit the unsharp mask')),
            filters.fit_wiener_filter(progress(pairs, 'fit the Wiener filter')),
        ):
            found.pairs[f'best {fitted.name}'] = gains_on_pairs(fitted.run, pairs)
        found.pairs[restorer.network.name] = gains_on_pairs(restore, progress(pairs, 'restore the pairs'))
    sharp = [(pair.name, pair.sharp) for pair in pairs]
    opened = [open_scene(scene) for scene in progress(scenes, 'align the scenes')]
    found.correlations = {scene.name: scene.alignment.correlation for scene in opened}
    found.left_out = [scene.name for scene in opened if not scene.fits]
    aligned = [scene for scene in opened if scene.fits]
    if aligned:
        found.scenes = gains_on_scenes(restore, progress(aligned, 'restore the scenes'))
    sharp += _sharp_of(scenes, opened)
    found.sharp = change_of_sharp(restore, progress(sharp, 'restore what is sharp'))
    return found


def _sharp_of(scenes: Sequence[Scene], opened: Sequence[AlignedScene]) -> list[tuple[str, np.ndarray]]:
    """The sharp photographs of scenes, each once."""
    by_file = {scene.sharp: one.sharp for scene, one in zip(scenes, opened, strict=True)}
    return [(path.stem, image) for path, image in by_file.items()]
