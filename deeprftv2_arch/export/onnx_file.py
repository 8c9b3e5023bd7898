"""A network as an ONNX file, which is kept only if it computes what the network does."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deeprftv2_arch.export.reasons import why_not
from deeprftv2_arch.utils.atomic_file import cannot_write
from deeprftv2_arch.utils.errors import UserError

if TYPE_CHECKING:
    from deeprftv2_arch.restoration.network import RestorationNetwork

INPUT, OUTPUT = 'image', 'restored'
"""Names of what goes in and comes out."""

TRACED = (64, 48)
"""Height and width of the image that a network for any size is recorded with."""

COMPARED = ((48, 80), (61, 45), (96, 64))
"""Height and width of the images that it is compared on, none of which it was recorded with."""

LARGEST_DIFFERENCE = 1e-3
"""Between a network and its file, for values in [0, 1]: a quarter of a step of 8 bits."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        sizes: Height and width of the images that network and file were compared on.
        difference: The largest difference of two values there.
    """

    path: Path
    sizes: tuple[tuple[int, int], ...]
    difference: float


class _Whole(nn.Module):
    """What is exported: images of three channels and, but for a fixed size, any sides."""

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.net, self.network = network.net, network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def check_onnx() -> None:
    """Tell whether networks can be exported.

    Raises:
        UserError: A package is missing.
    """
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            __import__(package)
        except ImportError as error:
            raise UserError(
                f"An export needs the package {package}. Try: pip install 'deeprftv2_arch[onnx]'"
            ) from error


@torch.no_grad()
def export_onnx(network: RestorationNetwork, path: Path, size: tuple[int, int] | None = None) -> Exported:
    """Write a network as an ONNX file, compare the two with onnxruntime, and keep the file if they agree.

    The file takes `image` (1, 3, H, W), RGB in [0, 1], and gives `restored` (1, 3, scale * H, scale * W), not clamped.

    Args:
        network: What `load_network` returns.
        path: Where to; ends in `.onnx`.
        size: Height and width of all images; None for any.

    Raises:
        UserError: The network cannot be exported: the message names the part and the reason. Or it and its file do not
            agree, or the file cannot be written.
    """
    if path.suffix != '.onnx':
        raise UserError(f'{path}: let the name end in .onnx.')
    sizes: Sequence[tuple[int, int]] = COMPARED if size is None else (size, size)
    module = _Whole(network).eval()
    images = [torch.rand(1, 3, *s, generator=torch.Generator().manual_seed(i)) for i, s in enumerate(sizes)]
    # Before the export: tables that a network makes for a size and keeps are then made of numbers.
    expected = [module(image) for image in images]
    program = _record(module, network.name, size)
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        program.save(part)
        difference = _largest_difference(part, images, expected)
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(
                f'{network.name}: the exported file computes something else, up to {difference:.2g} off, and was not '
                'kept.'
            )
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error.strerror) from error
    finally:
        part.unlink(missing_ok=True)
    return Exported(path, tuple(sizes), difference)


def _record(module: nn.Module, name: str, size: tuple[int, int] | None) -> Any:
    image = torch.rand(1, 3, *(size or TRACED), generator=torch.Generator().manual_seed(len(COMPARED)))
    sides = None if size else ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    try:
        with _quiet():
            return torch.onnx.export(
                module,
                (image,),
                dynamo=True,
                dynamic_shapes=sides,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:  # the exporter's own, whose causes are all there is
        sizes = 'images of any size' if size is None else f'images of {size[0]} x {size[1]} pixels'
        advice = ' Try a fixed size: --size 64 64.' if size is None else ''
        raise UserError(f'{name} cannot be exported for {sizes}: {why_not(error, module)}.{advice}') from error


def _largest_difference(path: Path, images: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        outputs = [session.run([OUTPUT], {INPUT: image.numpy()})[0] for image in images]
    except Exception as error:  # onnxruntime's own, of many classes
        raise UserError(f'The exported file does not run and was not kept: {str(error).splitlines()[0]}') from error
    largest = 0.0
    for image, found, wanted in zip(images, outputs, expected, strict=True):
        if found.shape != tuple(wanted.shape):
            raise UserError(
                f'The exported file makes an image of {tuple(image.shape)} one of {found.shape} and not of '
                f'{tuple(wanted.shape)}, and was not kept.'
            )
        largest = max(largest, (torch.from_numpy(found) - wanted).abs().max().item())
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter tells its own developers."""
    logger = logging.getLogger('torch')
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
