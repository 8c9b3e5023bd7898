"""The ranges that synthesized blur is drawn from, each with its source, and the option keys made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, NamedTuple, get_args, get_type_hints

from deeprftv2_arch.config.keys import Key

Range = tuple[float, float]


class Setting(NamedTuple):
    """What a field means, and where its default comes from."""

    meaning: str
    source: str


@dataclass(frozen=True)
class BlurSettings:
    """What blur and camera may be, as shares and ranges ``(least, most)``.

    Lengths are in pixels of the crop; light is linear, with 1 for white. Each field's annotation says what it means and
    where its default comes from; ``docs/photographs.md`` lists them.

    Raises:
        ValueError: If a range ends before it begins or holds what cannot be, or if all shares are zero.
    """

    share_shake: Annotated[
        float,
        Setting(
            'Share of crops blurred by one kernel of a shaken hand.',
            'own choice',
        ),
    ] = 0.3
    share_rotation: Annotated[
        float, Setting('Share blurred by a rotating camera, so that the blur varies over the crop.', 'own choice')
    ] = 0.3
    share_defocus: Annotated[float, Setting('Share out of focus.', 'own choice')] = 0.15
    share_layers: Annotated[float, Setting('Share with an object that moves before its background.', 'own choice')] = (
        0.15
    )
    share_sharp: Annotated[
        float, Setting('Share that is nearly sharp, so that sharp photographs are left alone.', 'own choice')
    ] = 0.1
    shake_extent: Annotated[
        Range,
        Setting('Largest distance between two points of a trajectory.', 'own choice: what a small network can undo'),
    ] = (2, 14)
    sharp_extent: Annotated[Range, Setting('The same for nearly sharp crops.', 'own choice')] = (0, 1)
    shake_tremor: Annotated[
        Range, Setting('Random change of direction per step of a trajectory.', 'after Boracchi and Foi 2012')
    ] = (0, 0.2)
    shake_pull: Annotated[
        Range, Setting('Pull back to the start, relative to the tremor.', 'after Boracchi and Foi 2012')
    ] = (0, 0.7)
    shake_impulse: Annotated[
        Range, Setting('Chance per step of turning nearly round.', 'after Boracchi and Foi 2012')
    ] = (0, 0.02)
    focal_length: Annotated[
        Range,
        Setting(
            'Focal length of the rotating camera.',
            'Carbajal et al. (arXiv 2209.12675) take 1000; an octave to each side',
        ),
    ] = (500, 2000)
    roll: Annotated[
        float, Setting('Largest roll of the rotating camera, in degrees.', 'as in Blur2Seq (Carbajal et al.)')
    ] = 1.0
    poses: Annotated[int, Setting('Most poses of the rotating camera that are averaged.', 'Blur2Seq averages 25')] = 32
    defocus_radius: Annotated[Range, Setting('Radius of the disc of an unfocused point.', 'own choice')] = (0.7, 4)
    defocus_rim: Annotated[Range, Setting('Width of its soft rim, relative to the radius.', 'own choice')] = (0.1, 0.4)
    layer_share: Annotated[Range, Setting('Share of the crop that a moving object covers.', 'own choice')] = (0.15, 0.6)
    photograph_scale: Annotated[
        Range, Setting('Factor by which the photograph is reduced.', 'own choice: sharper pixels')
    ] = (
        0.5,
        1,
    )
    highlight_start: Annotated[
        float, Setting('sRGB value above which highlights are made brighter before the blur.', 'own choice')
    ] = 0.9
    highlight_gain: Annotated[
        Range,
        Setting(
            'How much brighter white may have been before it clipped.',
            'Carbajal et al. (arXiv 2209.12675): 1 + 2 U(0, 1)',
        ),
    ] = (1, 3)
    noise_gain: Annotated[
        Range,
        Setting(
            'Variance of the photon noise at white, drawn evenly in its logarithm.',
            'holds the cameras of Rim et al. 2022: 0.9e-4 and 1e-4, times 0.5 to 1.5',
        ),
    ] = (2e-5, 1e-3)
    read_noise: Annotated[
        Range,
        Setting(
            'Standard deviation of the noise in the dark, drawn evenly in its logarithm.',
            'holds the noisier camera of Rim et al. 2022: 9e-4, times 0.5 to 1.5',
        ),
    ] = (1e-4, 3e-3)
    jpeg_share: Annotated[
        float, Setting('Share of crops that went through JPEG.', 'own choice: photographs are JPEGs')
    ] = 0.7
    jpeg_quality: Annotated[Range, Setting('Quality of that JPEG.', 'own choice: what cameras write')] = (70, 98)
    texture: Annotated[
        float,
        Setting('Mean step between neighbouring pixels, of 255, below which another place is tried.', 'own choice'),
    ] = 4
    tries: Annotated[int, Setting('Most places that are tried; then the last is taken.', 'own choice')] = 6

    def __post_init__(self) -> None:
        for name, (kind, _) in describe_settings().items():
            value = getattr(self, name)
            if kind == Range and value[0] > value[1]:
                raise ValueError(f'{name}: the range {list(value)} ends before it begins.')
        for name in ('noise_gain', 'read_noise'):
            least, most = getattr(self, name)
            if least == 0 < most:
                raise ValueError(f'{name}: a range of logarithms cannot begin at 0. Write [0, 0] for none.')
        for name in ('photograph_scale', 'focal_length', 'defocus_radius', 'highlight_gain'):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f'{name}: must be above 0, got {list(getattr(self, name))}.')
        for name, most in (('photograph_scale', 1), ('layer_share', 1), ('jpeg_quality', 100)):
            if getattr(self, name)[1] > most:
                raise ValueError(f'{name}: must be at most {most}, got {list(getattr(self, name))}.')
        if self.highlight_start >= 1:
            raise ValueError(f'highlight_start: must be below 1, got {self.highlight_start}.')
        if self.poses < 1 or self.tries < 1:
            raise ValueError('poses and tries: must be at least 1.')
        if not self.share_shake + self.share_rotation + self.share_defocus + self.share_layers + self.share_sharp:
            raise ValueError('share_*: all are 0, so there is no blur to draw. Raise one of them.')

    @property
    def margin(self) -> int:
        """How far, in whole pixels, blur may reach at most."""
        return int(max(self.shake_extent[1], self.sharp_extent[1], self.defocus_radius[1] * 1.5)) + 2


def describe_settings() -> dict[str, tuple[type, Setting]]:
    """The type of each setting and what there is to say about it, by name, in order."""
    hints = get_type_hints(BlurSettings, include_extras=True)
    return {one.name: get_args(hints[one.name]) for one in fields(BlurSettings)}


BLUR_KEYS = tuple(
    Key(name, kind, setting.meaning, getattr(BlurSettings, name), at_least=0)
    for name, (kind, setting) in describe_settings().items()
)
"""Every setting as an option key."""
