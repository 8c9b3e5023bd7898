"""Number formats, memory layout and compilation of a network, from `train` or `val` of an option file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from deeprftv2_arch.config.schema import PrecisionOptions
from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.precision import at_least_float32
from deeprftv2_arch.utils.errors import UserError

# Convolutions use TF32 where the GPU has it, matrix products do not.
_TORCH_TF32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


@dataclass(frozen=True)
class Precision:
    """How a network is run.

    Training and validation have sections of their own: a network that is trained in mixed precision is validated in
    float32 unless ``val.amp`` says otherwise.

    Attributes:
        where: The section, ``train`` or ``val``.
        amp: Whether convolutions and matrix products run in bfloat16 (``amp: bfloat16``). Weights, optimizer and loss
            stay in float32, and so do norms, spectra, the scan and the reversible maps of our networks.
        tf32: Whether NVIDIA GPUs may round the factors of float32 products to TF32, with 10 bits of mantissa, in
            convolutions and matrix products alike; None keeps torch's defaults (convolutions: on, products: off).
        channels_last: Whether weights and images lie channels-last in memory. DeepRFTv2 sees to its images by itself.
        compile: Whether torch.compile is used.
    """

    where: str
    amp: bool = False
    tf32: bool | None = None
    channels_last: bool = False
    compile: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any] | None, where: str) -> Precision:
        """Read the keys of a section.

        Args:
            options: The section; None where there is none.
            where: Its name.

        Raises:
            UserError: A value that cannot be; for float16 with the reason.
        """
        keys = PrecisionOptions.model_fields
        given = {key: value for key, value in (options or {}).items() if key in keys}
        typed = PrecisionOptions.read(given, where)
        return cls(where, typed.amp is not None, typed.tf32, typed.channels_last, typed.compile)

    def prepare(self, net: nn.Module, device: torch.device) -> None:
        """Bring a network into the memory layout that was asked for and have it compiled; its keys stay as they are.

        On a CPU blocks that run in fused passes are not compiled: they would take more time. A warning says so.

        Raises:
            UserError: It is to be compiled, and that does not work on this machine.
        """
        if self.channels_last:
            net.to(memory_format=torch.channels_last)
        compiles = self.compile and (self.amp or not _is_fused(net, device))
        if compiles:
            _require_compiler(device, f'{self.where}.compile')
            compile_network(net)
        if self != Precision(self.where):
            get_root_logger().info(f'Options of {self.where}: the network runs in {self}.')
        if self.compile and not compiles:
            get_root_logger().warning(
                f'{self.where}.compile is not used: on a CPU the blocks of this network run in fused passes, which '
                'take less time than compiled blocks.'
            )

    def run(self, net: nn.Module, image: Tensor, **arguments: Any) -> Any:
        """Call a network on (N, C, H, W) images; what it returns, also in nested lists, is in float32 at least.

        TF32 is a setting of the whole process, and training and validation take turns in one. So it is set before
        every call; backward has what the call before it had.
        """
        products, convolutions = _TORCH_TF32 if self.tf32 is None else (self.tf32, self.tf32)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(image.device.type, torch.bfloat16) if self.amp else nullcontext():
            output = net(image, **arguments)
        return _outputs_at_least_float32(output)

    def __str__(self) -> str:
        """Describe it for the log."""
        words = ['mixed precision (bfloat16)' if self.amp else 'float32']
        if self.tf32 is not None:
            words.append('TF32 on' if self.tf32 else 'TF32 off')
        if self.channels_last:
            words.append('channels last')
        if self.compile:
            words.append('compiled')
        return ', '.join(words)


def compile_network(net: nn.Module) -> None:
    """Have torch.compile work on a network, in place, when it is first called.

    Of our networks the blocks are compiled and not the whole: there are few different ones, so this takes minutes
    instead of hours, and the reversible columns, which no compiler follows, run compiled blocks too.
    """
    blocks: list[nn.Module] = [module for module in net.modules() if isinstance(module, NAFBlock)]
    for part in blocks or [net]:
        part.compile()
    # A compiled form for each width and map size, with and without gradients: more than torch's own limit of 8.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)


def _is_fused(net: nn.Module, device: torch.device) -> bool:
    blocks = (module for module in net.modules() if isinstance(module, NAFBlock))
    return fused.available(device) and any(fused.fits(block.expand.in_channels) for block in blocks)


def _require_compiler(device: torch.device, key: str) -> None:
    """Compile a sum, so that what is missing on a machine shows now, as one line."""
    try:
        torch.compile(lambda x: (x * x).sum())(torch.ones(8, device=device))
    except Exception as error:  # whatever compilers raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(f'{key}: torch.compile does not work on this machine ({reason}). Remove the key.') from error


def _outputs_at_least_float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return at_least_float32(output)
    return type(output)(_outputs_at_least_float32(part) for part in output)
