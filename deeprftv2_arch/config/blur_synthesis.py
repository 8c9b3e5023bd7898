"""The ranges that synthesized blur is drawn from, each with its source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from deeprftv2_arch.config.options import Options, detail, fields, option
from deeprftv2_arch.config.schema import DatasetOptions
from deeprftv2_arch.config.value_types import Folder, Natural, NonNegative, Positive, Size, as_yaml


def _pair(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _in_order(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f'the range [{limits[0]:g}, {limits[1]:g}] ends before it begins.')
    return limits


def _has_logarithms(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] == 0 < limits[1]:
        raise ValueError('a range of logarithms cannot begin at 0. Write [0, 0] for none.')
    return limits


def _between(least: float, most: float = math.inf) -> Callable[[tuple[float, float]], tuple[float, float]]:
    def check(limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] < least:
            raise ValueError(f'must be at least {least}, got [{limits[0]:g}, {limits[1]:g}].')
        if limits[1] > most:
            raise ValueError(f'must be at most {most}, got [{limits[0]:g}, {limits[1]:g}].')
        return limits

    return check


Fraction = Annotated[float, Field(ge=0, le=1)]

Range = Annotated[tuple[float, float], BeforeValidator(_pair), AfterValidator(_in_order), AfterValidator(_between(0))]
"""``[least, most]``, from which numbers are drawn evenly."""

LogarithmicRange = Annotated[Range, AfterValidator(_has_logarithms)]
"""``[least, most]``, from which numbers are drawn evenly in their logarithm."""


class BlurSettings(Options):
    """What blur and camera may be, as shares and ranges ``[least, most]``.

    Lengths are in pixels of the crop; light is linear, with 1 for white. ``docs/photographs.md`` lists all with the
    sources of their defaults.
    """

    share_shake: NonNegative = option(
        'Share of crops blurred by one kernel of a shaken hand.', 0.3, source='own choice'
    )
    share_rotation: NonNegative = option(
        'Share blurred by a rotating camera, so that the blur varies over the crop.', 0.3, source='own choice'
    )
    share_defocus: NonNegative = option('Share out of focus.', 0.15, source='own choice')
    share_layers: NonNegative = option(
        'Share with an object that moves before its background.', 0.15, source='own choice'
    )
    share_sharp: NonNegative = option(
        'Share that is nearly sharp, so that sharp photographs are left alone.', 0.1, source='own choice'
    )
    shake_extent: Range = option(
        'Largest distance between two points of a trajectory.',
        (2, 14),
        source='own choice: what a small network can undo',
    )
    sharp_extent: Range = option('The same for nearly sharp crops.', (0, 1), source='own choice')
    shake_tremor: Range = option(
        'Random change of direction per step of a trajectory.', (0, 0.2), source='after Boracchi and Foi 2012'
    )
    shake_pull: Range = option(
        'Pull back to the start, relative to the tremor.', (0, 0.7), source='after Boracchi and Foi 2012'
    )
    shake_impulse: Range = option(
        'Chance per step of turning nearly round.', (0, 0.02), source='after Boracchi and Foi 2012'
    )
    focal_length: Annotated[Range, AfterValidator(_between(1))] = option(
        'Focal length of the rotating camera.',
        (500, 2000),
        source='Carbajal et al. (arXiv 2209.12675) take 1000; an octave to each side',
    )
    roll: NonNegative = option(
        'Largest roll of the rotating camera, in degrees.', 1.0, source='as in Blur2Seq (Carbajal et al.)'
    )
    poses: Positive = option('Most poses of the rotating camera that are averaged.', 32, source='Blur2Seq averages 25')
    defocus_radius: Annotated[Range, AfterValidator(_between(0.1))] = option(
        'Radius of the disc of an unfocused point.', (0.7, 4), source='own choice'
    )
    defocus_rim: Range = option('Width of its soft rim, relative to the radius.', (0.1, 0.4), source='own choice')
    layer_share: Annotated[Range, AfterValidator(_between(0, 1))] = option(
        'Share of the crop that a moving object covers.', (0.15, 0.6), source='own choice'
    )
    photograph_scale: Annotated[Range, AfterValidator(_between(0.1, 1))] = option(
        'Factor by which the photograph is reduced.', (0.5, 1), source='own choice: sharper pixels'
    )
    highlight_start: Annotated[float, Field(ge=0, lt=1)] = option(
        'sRGB value above which highlights are made brighter before the blur.', 0.9, source='own choice'
    )
    highlight_gain: Annotated[Range, AfterValidator(_between(1))] = option(
        'How much brighter white may have been before it clipped.',
        (1, 3),
        source='Carbajal et al. (arXiv 2209.12675): 1 + 2 U(0, 1)',
    )
    noise_gain: LogarithmicRange = option(
        'Variance of the photon noise at white, drawn evenly in its logarithm.',
        (2e-05, 0.001),
        source='holds the cameras of Rim et al. 2022: 0.9e-4 and 1e-4, times 0.5 to 1.5',
    )
    read_noise: LogarithmicRange = option(
        'Standard deviation of the noise in the dark, drawn evenly in its logarithm.',
        (0.0001, 0.003),
        source='holds the noisier camera of Rim et al. 2022: 9e-4, times 0.5 to 1.5',
    )
    jpeg_share: Fraction = option(
        'Share of crops that went through JPEG.', 0.7, source='own choice: photographs are JPEGs'
    )
    jpeg_quality: Annotated[Range, AfterValidator(_between(1, 100))] = option(
        'Quality of that JPEG.', (70, 98), source='own choice: what cameras write'
    )
    texture: NonNegative = option(
        'Mean step between neighbouring pixels, of 255, below which another place is tried.', 4, source='own choice'
    )
    tries: Positive = option('Most places that are tried; then the last is taken.', 6, source='own choice')

    @model_validator(mode='after')
    def _draws_something(self) -> BlurSettings:
        if not self.share_shake + self.share_rotation + self.share_defocus + self.share_layers + self.share_sharp:
            raise ValueError('share_*: all are 0, so there is no blur to draw. Raise one of them.')
        return self

    @property
    def margin(self) -> int:
        """How far, in whole pixels, blur may reach at most."""
        return int(max(self.shake_extent[1], self.sharp_extent[1], self.defocus_radius[1] * 1.5)) + 2


class SynthesizedBlurOptions(DatasetOptions, BlurSettings, extra='forbid'):
    """Sharp photographs that are blurred while training goes on."""

    similarity: ClassVar[float] = 0.6
    dataroot_gt: Folder = option(
        'Folder of sharp photographs; its sub-folders are searched too.', needed='always', may_change=True
    )
    scale: Literal[1] | None = option('Copied from the top of the option file.')
    gt_size: Size | None = option(
        'Crop in pixels: one number or `[height, width]`; or give `train.stages`.', needed='unstaged'
    )
    long_side: Positive = option('Larger photographs are reduced to this many pixels.', 1152)
    cache_mb: Natural = option('Memory for decoded photographs, for each process that reads.', 512, may_change=True)
    return_kernel: bool = option('Give the true kernel with each pair.', False, may_change=True)


def settings_table() -> str:
    """Write every setting with its default, meaning and source as a table in Markdown."""
    lines = ['| key | default | meaning | source of the default |', '| --- | --- | --- | --- |']
    for name, field in fields(BlurSettings).items():
        lines.append(f'| `{name}` | {as_yaml(field.default)} | {field.description} | {detail(field, "source")} |')
    return '\n'.join(lines)
