"""X + FKE: a Fourier kernel estimator behind the body of any registered network, by option file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.utils.suggest import nearest

# Name of the estimator among the children of the part it stands behind.
CHILD = 'fke'


class FeatureEstimator(nn.Module):
    """A Fourier kernel estimator that takes the feature of a network and returns it convolved.

    Args:
        place: Name of the part whose output comes in, for messages.
        width, window, overlap: See :class:`FourierKernelEstimator`.
        identity_init: Start by returning the input unchanged.

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        ValueError: In the forward pass, anything else than maps of ``width`` channels.
    """

    def __init__(self, place: str, width: int, window: int | None, overlap: int, identity_init: bool) -> None:
        super().__init__()
        self.place, self.width = place, width
        self.estimator = FourierKernelEstimator(width, image_channels=None, window=window, overlap=overlap)
        if identity_init:
            fuse = self.estimator.convolution.fuse
            nn.init.zeros_(fuse.weight)
            nn.init.dirac_(fuse.weight[:, width:].data)

    def forward(self, feature: Tensor) -> Tensor:
        shape = tuple(feature.shape) if isinstance(feature, Tensor) else type(feature).__name__
        if not isinstance(feature, Tensor) or feature.dim() != 4 or feature.shape[1] != self.width:
            raise ValueError(
                f'after: {self.place} returns {shape}, but the estimator there needs maps (N, {self.width}, H, W). '
                'Name a part that returns such maps, or set width to their number of channels.'
            )
        return self.estimator(feature).feature


def _estimate(part: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    # Through the part that is at work, not the one that was built: data-parallel replicas have estimators of their own.
    return part.get_submodule(CHILD)(output)


@ARCH_REGISTRY.register()
def WithFKE(  # noqa: N802  # its name in option files
    network: Mapping[str, Any],
    after: str,
    width: int | None = None,
    fke_window: int | None = None,
    fke_overlap: int = 0,
    identity_init: bool = False,
) -> nn.Module:
    """Build a registered network with a Fourier kernel estimator behind one of its parts.

    The network is BasicSR's own, and so are its keys: a checkpoint of it fits, but for the estimator's keys, which
    are ``<after>.fke.*``.

    Args:
        network: Options of the network: ``type``, and the arguments of that class.
        after: Dotted name of the part whose output the estimator replaces: the end of the body, ``conv_after_body`` in
            EDSR and SwinIR. The part is called once in a forward pass and returns maps (N, C, H, W).
        width: Channels C of these maps; None to read them off the last convolution of the part.
        fke_window: Take the spectrum in windows of this many pixels where the maps are larger; None for whole maps.
            Hard windows in training, blended ones in evaluation mode.
        fke_overlap: Pixels shared by neighbouring windows.
        identity_init: Start as the network without an estimator; to fine-tune its published weights.

    Returns:
        The network.

    Raises:
        ValueError: There is no such network, or no such part in it; the width is not told by the part; and in the first
            forward pass, the part returns something else than maps of that width.
    """
    options = dict(network)
    kind = options.pop('type', None)
    names = ARCH_REGISTRY.keys()
    registered = next((name for name in (kind, f'{kind}_basicsr') if name in names), None)
    if registered is None or registered == 'WithFKE':
        raise ValueError(f'network.type: there is no network {kind!r} to build{nearest(kind, names)}.')
    net = ARCH_REGISTRY.get(registered)(**options)
    parts = dict(net.named_modules())
    if not after or after not in parts:
        children = ', '.join(name for name, _ in net.named_children())
        raise ValueError(f'after: {kind} has no part {after!r}{nearest(after, parts)}. Its parts are {children}.')
    part = parts[after]
    if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
        raise ValueError(f'after: {after} is a list of parts of {kind}, not one that is called. Name one in it.')
    part.add_module(
        CHILD, FeatureEstimator(after, width or _width(part, after), fke_window, fke_overlap, identity_init)
    )
    if not isinstance(part, nn.Sequential):  # which calls all of its children in turn, the new one last
        part.register_forward_hook(_estimate)
    return net


def _width(part: nn.Module, name: str) -> int:
    found = [module.out_channels for module in part.modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise ValueError(f'width: {name} has no convolution that tells its channels. Set width.')
    return found[-1]
