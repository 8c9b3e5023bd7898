"""`deeprftv2 analyze blur-pattern`: what FFT, ReLU and inverse FFT show of the blur (paper figure 2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from deeprftv2_arch.analysis.blur_pattern import blur_pattern
from deeprftv2_arch.analysis.pictures import Panel, draw_panels, require_matplotlib, stretch, write_numbers
from deeprftv2_arch.cli.analyze_inputs import OUT, images_of, positive, read_rgb
from deeprftv2_arch.cli.arguments import command_parser

CHOICES = (
    'Choices that the paper leaves open: the half spectrum; ReLU of real and imaginary part; mean of the colours; '
    'the brightest and darkest 0.1 % are clipped.'
)


def main(arguments: list[str] | None = None) -> None:
    """Write a picture and the numbers behind it for every image.

    Raises:
        UserError: An image cannot be read, or a file not written.
    """
    parser = command_parser(
        'analyze blur-pattern', f'The blur pattern of images (figure 2). {CHOICES}', 'blurred.png --out results/analyze'
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='images, or folders of images')
    parser.add_argument('--out', default=OUT, help=f'folder to write to (default: {OUT})')
    parser.add_argument('--zoom', type=positive, default=129, help='side of the enlarged middle (default: 129)')
    args = parser.parse_args(arguments)
    require_matplotlib()
    files = [file for image in args.images for file in images_of(image)]
    for file in tqdm(files, 'images', disable=len(files) < 2):
        image = read_rgb(file)
        pattern = blur_pattern(image.double()).mean(0).numpy()
        row = [
            Panel(file.name, image.permute(1, 2, 0).numpy()),
            Panel('blur pattern', stretch(pattern, 0.001)),
            Panel('its middle', stretch(_middle(pattern, args.zoom), 0.001)),
        ]
        target = Path(args.out, f'{file.stem}_blur_pattern')
        print(draw_panels(target.with_suffix('.png'), [row]))
        print(write_numbers(target.with_suffix('.npz'), {'pattern': pattern}))


def _middle(pattern: np.ndarray, size: int) -> np.ndarray:
    top, left = (max(side // 2 - size // 2, 0) for side in pattern.shape)
    return pattern[top : top + size, left : left + size]
