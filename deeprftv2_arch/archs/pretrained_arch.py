"""Weights of others as a network: whatever the library spandrel recognizes."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.nn.tta import mirror_extend
from deeprftv2_arch.utils.errors import UserError

INSTALL = "pip install 'deeprftv2_arch[spandrel]'"


def read_with_spandrel(path: str | Path) -> Any:
    """Have spandrel recognize a checkpoint and build its network, on the CPU.

    Only tensors and plain Python values are unpickled: a file from the network runs no code.

    Args:
        path: A `.pth`, `.pt`, `.ckpt` or `.safetensors` file.

    Returns:
        spandrel's `ImageModelDescriptor`.

    Raises:
        UserError: spandrel is not installed; the file is missing, damaged or holds other objects than tensors; it is of
            no network that spandrel knows, or of one that takes more than an image.
    """
    spandrel = _library(path)
    if not Path(path).is_file():
        raise UserError(f'There is no checkpoint {path}.')
    try:
        if Path(path).suffix == '.safetensors':
            content = importlib.import_module('safetensors.torch').load_file(path)
        else:
            content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f'{path} holds Python objects beside tensors, or is not a checkpoint. If you trust where it comes from, '
            'load it with torch.load(..., weights_only=False) and save its state dict alone.'
        ) from error
    except Exception as error:  # an unpickler fed with arbitrary bytes raises all there is
        raise UserError(f'{path} is not a checkpoint, or was not written or downloaded to its end.') from error
    try:
        state = spandrel.canonicalize_state_dict(content)
        with torch.device('cpu'):
            descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    except Exception as error:  # whatever the code of forty networks raises for weights that do not fit
        reason = str(error).strip().splitlines()
        raise UserError(
            f'{path} is of no network that spandrel {spandrel.__version__} knows'
            f'{f" ({reason[0]})" if reason else ""}. Give the checkpoint of another network.'
        ) from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise UserError(f'{path}: {descriptor.architecture.name} takes more than an image, which is not supported.')
    return descriptor


def _library(path: str | Path) -> ModuleType:
    try:
        return importlib.import_module('spandrel')
    except ImportError as error:
        raise UserError(f'{path}: networks of others are read by the package spandrel. Try: {INSTALL}') from error


@ARCH_REGISTRY.register()
class Pretrained(nn.Module):
    """A network that spandrel knows, with its weights: NAFNet, FFTformer, SwinIR, HAT and others. Needs `[spandrel]`.

    It starts with the weights of the file and can be trained on. Its parts have their published names behind `netG.`, a
    prefix that spandrel removes: what a training saves is read by spandrel again, and `WithFKE` takes
    `after: netG.conv_after_body`.

    Args:
        file: Checkpoint, `.pth`, `.pt`, `.ckpt` or `.safetensors`.

    Shape:
        (N, K, H, W), in [0, 1], any H, W >= 1 -> (N, K, upscale * H, upscale * W), not clamped. Inside, the image is
        continued at the bottom and the right by mirroring, to a size that the network takes.

    Raises:
        UserError: The file cannot be read, or is of no network that spandrel knows.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        descriptor = read_with_spandrel(file)
        self.upscale, self.in_channels = descriptor.scale, descriptor.input_channels
        self.architecture = descriptor.architecture.name
        self.tiling = descriptor.tiling.name
        self.sizes = descriptor.size_requirements
        self.netG = descriptor.model.train()
        # How an image is handed to the network: some take a noise level beside it, or return more than an image. It is
        # private there, but what is public runs without gradients and clamps the output.
        self._call = descriptor._call_fn
        # While the arguments of a network are looked at, networks are built without memory.
        if torch.get_default_device().type == 'meta':
            self.to('meta')

    def forward(self, x: Tensor) -> Tensor:
        """Restore (N, K, H, W) images in [0, 1]."""
        height, width = x.shape[-2:]
        more_width, more_height = self.sizes.get_padding(width, height)
        x = mirror_extend(x, height + more_height, width + more_width)
        return self._call(self.netG, x)[..., : height * self.upscale, : width * self.upscale]
