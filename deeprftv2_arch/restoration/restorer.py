"""Restoring images that are arrays or tensors: what the command does to each photograph, as a Python object."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deeprftv2_arch.nn.memory import is_out_of_memory
from deeprftv2_arch.nn.tta import self_ensemble
from deeprftv2_arch.restoration import guard
from deeprftv2_arch.restoration.network import RestorationNetwork, load_network
from deeprftv2_arch.restoration.tiling import Progress, Tiling
from deeprftv2_arch.utils.errors import UserError

OnSuspect = Literal['blend', 'keep', 'write']
"""What becomes of an output that does not look like its input: the input is blended in where it does not, or kept
altogether, or the output is written as it is."""

PRECISIONS = {'float32': None, 'bfloat16': torch.bfloat16}

Image = TypeVar('Image', np.ndarray, Tensor)


@dataclass(frozen=True)
class Restored:
    """A restored image.

    Attributes:
        image: (1, 3, H, W) in [0, 1].
        suspect: In what the output of the network did not look like its input; empty if it did.
    """

    image: Tensor
    suspect: str


class Restorer:
    """Restores photographs with the network of a file of weights.

    Args:
        network: What `load_network` returns.
        device: `cuda`, `mps`, `cpu` or another device of torch; None for the first of these that there is.
        tile: Side of a tile in pixels; `auto` for what fits in memory, None for the whole image.
        precision: `float32` or `bfloat16`.
        self_ensemble: Take the mean over the eight flips and quarter turns, which takes eight times as long.

    Raises:
        UserError: There is no such device, or a value that cannot be.

    Example:
        >>> import numpy as np
        >>> from deeprftv2_arch.restoration import Restorer
        >>> restorer = Restorer.load('tiny.safetensors', device='cpu')
        >>> blurred = np.full((48, 64, 3), 128, np.uint8)
        >>> sharp = restorer.restore(blurred)
        >>> sharp.shape, sharp.dtype
        ((48, 64, 3), dtype('uint8'))
    """

    def __init__(
        self,
        network: RestorationNetwork,
        device: str | torch.device | None = None,
        *,
        tile: int | Literal['auto'] | None = 'auto',
        precision: str = 'float32',
        self_ensemble: bool = False,
    ) -> None:
        if isinstance(tile, int) and tile < 16:
            raise UserError(f'A tile needs at least 16 pixels, got {tile}.')
        if precision not in PRECISIONS:
            raise UserError(f'Precision: expected {" or ".join(PRECISIONS)}, got {precision!r}.')
        self.device = choose_device(device)
        self.network = network
        self.network.net.to(self.device)
        self.half = PRECISIONS[precision]
        self.self_ensemble = self_ensemble
        self.tiling = Tiling(None if network.whole and tile == 'auto' else tile, network.cost)

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        *,
        tile: int | Literal['auto'] | None = 'auto',
        precision: str = 'float32',
        self_ensemble: bool = False,
    ) -> Restorer:
        """Build a restorer from a file of weights.

        Args:
            weights: Weights of ours or, with the extra `[spandrel]`, of others; None for those of this package.
            device, tile, precision, self_ensemble: As for the class.

        Raises:
            UserError: The weights cannot be used, or there is no such device.
        """
        network = load_network(weights)
        return cls(network, device, tile=tile, precision=precision, self_ensemble=self_ensemble)

    @property
    def scale(self) -> int:
        """By what the sides of an image grow."""
        return self.network.scale

    def restore(
        self,
        image: Image,
        strength: float = 1.0,
        *,
        on_suspect: OnSuspect = 'blend',
        progress: Progress | None = None,
    ) -> Image:
        """Restore one image.

        A warning is issued if the output of the network does not look like its input.

        Args:
            image: An array (H, W, 3) or (H, W), uint8, uint16, or floating point in [0, 1]; or a floating point tensor
                (3, H, W) or (1, 3, H, W) in [0, 1]. RGB.
            strength: 0 for the input, 1 for what the network returns, and anything between. Networks that enlarge are
                mixed with bicubic interpolation.
            on_suspect: `blend` the input into the regions that do not look like it, `keep` the input, or `write` what
                the network returned.
            progress: Is told, before every tile and at the end, the number of tiles done and of all.

        Returns:
            An image of the same kind, `scale` times as large. The input is not changed.

        Raises:
            UserError: Another shape or type, values that are not finite, or the device has too little memory.
        """
        x, back = _as_tensor(image)
        restored = self.run(x, strength, on_suspect=on_suspect, progress=progress)
        if restored.suspect:
            warnings.warn(f'The output does not look like the input: {restored.suspect}.', stacklevel=2)
        return back(restored.image)

    @torch.inference_mode()
    def run(
        self,
        image: Tensor,
        strength: float = 1.0,
        *,
        on_suspect: OnSuspect = 'blend',
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a (1, 3, H, W) tensor in [0, 1] on the CPU, and tell how the output compares with it.

        Args:
            image, strength, on_suspect, progress: As for `restore`.

        Raises:
            UserError: The strength is out of range, or the device has too little memory.
        """
        if not 0 <= strength <= 1:
            raise UserError(f'The strength lies between 0 and 1, got {strength}.')
        if on_suspect not in get_args(OnSuspect):
            raise UserError(f'on_suspect: expected one of {", ".join(get_args(OnSuspect))}, got {on_suspect!r}.')
        try:
            output = self.tiling.run(self._restore, image, self.scale, self.device, progress or _silent)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f'{self.device} has too little memory for this image. Try --tile {self._smaller()}, or --device cpu.'
            ) from error
        finding = guard.compare(image, self._reduced(output))
        reference = self.enlarged(image)
        output = torch.where(output.isfinite(), output.clamp_(0, 1), reference)
        if finding and on_suspect == 'keep':
            output = reference
        elif finding and on_suspect == 'blend':
            output = torch.lerp(output, reference, guard.mask(finding, *output.shape[-2:]))
        return Restored(output if strength == 1 else self.mix(image, output, strength), finding.reason)

    def mix(self, image: Tensor, restored: Tensor, strength: float) -> Tensor:
        """Mix a restored image with its input, as `run` does for a strength below 1.

        Args:
            image: (1, 3, H, W), what was restored.
            restored: (1, 3, scale * H, scale * W), the image that `run` returned for strength 1.
            strength: 0 for the input, 1 for the restored image, and anything between.
        """
        return torch.lerp(self.enlarged(image), restored, strength)

    def enlarged(self, image: Tensor) -> Tensor:
        """The input in the size of the output, by bicubic interpolation: (1, 3, scale * H, scale * W)."""
        if self.scale == 1:
            return image
        return F.interpolate(image, scale_factor=self.scale, mode='bicubic', align_corners=False).clamp_(0, 1)

    def _restore(self, tile: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.half) if self.half else nullcontext():
            if self.self_ensemble:
                return self_ensemble(self.network, tile)
            return self.network(tile)

    def _reduced(self, output: Tensor) -> Tensor:
        return output if self.scale == 1 else F.avg_pool2d(output, self.scale)

    def _smaller(self) -> int:
        tile = self.tiling.tile
        return max(tile // 2, 16) if isinstance(tile, int) else 128


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """The device of a name, or the fastest there is: CUDA, MPS (Apple), CPU.

    Raises:
        UserError: There is no such device here.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device('cuda')
        return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'There is no device {name!r} here ({reason}). Try --device cpu.') from error
    return device


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def _as_tensor(image: Image) -> tuple[Tensor, Callable[[Tensor], Image]]:
    """An image as (1, 3, H, W) in [0, 1] on the CPU, and what brings such a tensor back into its kind."""
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        found = getattr(image, 'shape', type(image).__name__)
        raise UserError(f'An image is an array (H, W, 3) or (H, W), or a tensor (3, H, W), got {found}.')
    if not image.size:
        raise UserError(f'An image needs at least one pixel, got an array of {image.shape}.')
    x = array_to_tensor(image)
    return x, lambda output: tensor_to_array(output, image.dtype, is_grey=image.ndim == 2)


def _from_tensor(image: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    fits = image.dim() in (3, 4) and image.shape[-3] == 3 and image.shape[:-3] in ((), (1,)) and image.numel()
    if not fits or not image.is_floating_point():
        raise UserError(
            f'A tensor holds one image, (3, H, W) in floating point, got {image.dtype} {tuple(image.shape)}.'
        )
    x = image.detach().float().cpu().reshape(1, *image.shape[-3:])
    _check_finite(x)
    return x, lambda output: output.reshape(*image.shape[:-2], *output.shape[-2:]).to(image)


def array_to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) or (H, W), uint8, uint16 or floating point in [0, 1] -> (1, 3, H, W) in [0, 1], a copy.

    Raises:
        UserError: Pixels of another type, or values that are not finite.
    """
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != 'f':
        raise UserError(f'Pixels are uint8, uint16 or floating point numbers, got {image.dtype}.')
    white = np.iinfo(image.dtype).max if image.dtype.kind == 'u' else 1
    values = torch.from_numpy(image.astype(np.float32)) / white
    _check_finite(values)
    if values.dim() == 2:
        return values.expand(1, 3, -1, -1)
    return values.permute(2, 0, 1)[None].contiguous()


def tensor_to_array(output: Tensor, dtype: np.dtype, is_grey: bool = False) -> np.ndarray:
    """(1, 3, H, W) in [0, 1] -> (H, W, 3), or (H, W) as the mean of the colours; rounded for integer types."""
    values = output[0].mean(0) if is_grey else output[0].permute(1, 2, 0)
    if dtype.kind == 'u':
        values = (values * np.iinfo(dtype).max).round()
    return np.ascontiguousarray(values.numpy().astype(dtype))


def _check_finite(values: Tensor) -> None:
    if not values.isfinite().all():
        raise UserError('The image holds values that are not finite.')
