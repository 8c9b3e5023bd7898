"""DeepRFTv2, ATD and ATD + FKE as architectures of spandrel, under published key names and ours.

Hyper-parameters are read off the weights. What leaves no trace in them has the value of the published networks: whole
maps for the estimators of DeepRFTv2, and tiles of 64 pixels for ATD + FKE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

try:
    from spandrel import (
        MAIN_REGISTRY,
        Architecture,
        ArchRegistry,
        ArchSupport,
        ImageModelDescriptor,
        ModelTiling,
        SizeRequirements,
    )
except ImportError as error:
    raise ImportError("The package spandrel is not installed. Try: pip install 'deeprftv2_arch[spandrel]'") from error

from deeprftv2_arch.archs import ATD, ATDFKE, DeepRFTv2
from deeprftv2_arch.checkpoints.published_keys import atd, deeprftv2, from_published, read_options, to_published

BEFORE = ('ATD',)
"""Architectures of spandrel that take weights of ours for theirs: the keys of ATD + FKE are those of ATD and more."""

OUR_DEBLURRING_KEY = 'columns.0.unets.0.head.weight'
OUR_ESTIMATOR_KEY = 'estimators.0.convolution.project.weight'


class DeepRFTv2Architecture(Architecture[DeepRFTv2]):
    """DeepRFTv2 of one or two scales."""

    def __init__(self) -> None:
        super().__init__(id='DeepRFTv2', detect=_is_deeprftv2)

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[DeepRFTv2]:
        """Build the network of the weights."""
        options, weights = _options_and_weights(state_dict)
        return ImageModelDescriptor(
            DeepRFTv2(**options),
            weights,
            architecture=self,
            purpose='Restoration',
            tags=[f'{options["width"]}w', f'{options["num_columns"]} columns'],
            scale=1,
            # The channel attention pools over the whole map, and so does the estimator's spectrum.
            tiling=ModelTiling.DISCOURAGED,
            **_common(options),
        )


class ATDArchitecture(Architecture[ATD]):
    """ATD under the key names of this package; spandrel itself knows the published ones."""

    def __init__(self) -> None:
        super().__init__(id='ATD-deeprftv2_arch', detect=_is_atd, name='ATD')

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[ATD]:
        """Build the network of the weights."""
        options, weights = _options_and_weights(state_dict)
        return _upscaler(self, ATD(**options), weights, options, ModelTiling.SUPPORTED)


class ATDFKEArchitecture(Architecture[ATDFKE]):
    """ATD + FKE."""

    def __init__(self) -> None:
        super().__init__(id='ATDFKE', detect=_is_atd_fke, name='ATD+FKE')

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[ATDFKE]:
        """Build the network of the weights."""
        options, weights = _options_and_weights(state_dict)
        return _upscaler(self, ATDFKE(**options), weights, options, ModelTiling.INTERNAL)


def install(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Have spandrel's `ModelLoader` know the networks of this package. A second call changes nothing.

    Args:
        registry: Where to add them; by default the one that every `ModelLoader` asks.

    Example:
        >>> import spandrel
        >>> import deeprftv2_arch.spandrel
        >>> deeprftv2_arch.spandrel.install()
        >>> model = spandrel.ModelLoader().load_from_file('tiny.safetensors')
        >>> model.architecture.name
        'DeepRFTv2'
    """
    for architecture in (DeepRFTv2Architecture(), ATDFKEArchitecture(), ATDArchitecture()):
        known = tuple(name for name in BEFORE if name in registry)
        registry.add(ArchSupport.from_architecture(architecture, before=known), ignore_duplicates=True)


def _is_deeprftv2(state: Mapping[str, Any]) -> bool:
    return deeprftv2.is_published(state) or OUR_DEBLURRING_KEY in state


def _is_atd(state: Mapping[str, Any]) -> bool:
    return atd.is_ours(state) and OUR_ESTIMATOR_KEY not in state


def _is_atd_fke(state: Mapping[str, Any]) -> bool:
    return (atd.is_published(state) and atd.network_type(state) == 'ATDFKE') or OUR_ESTIMATOR_KEY in state


def _options_and_weights(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The arguments of the network, and its weights under our names, in float32."""
    is_ours = atd.is_ours(state) or OUR_DEBLURRING_KEY in state
    published = to_published(state) if is_ours else state
    weights = {
        key: value.float() if value.is_floating_point() else value for key, value in from_published(published).items()
    }
    return read_options(published), weights


def _upscaler(
    architecture: Architecture[Any],
    model: nn.Module,
    weights: dict[str, Tensor],
    options: Mapping[str, Any],
    tiling: ModelTiling,
) -> ImageModelDescriptor[Any]:
    scale = options['upscale']
    return ImageModelDescriptor(
        model,
        weights,
        architecture=architecture,
        purpose='SR' if scale > 1 else 'Restoration',
        tags=[f'{options["width"]}dim', f'{options["window"]}w'],
        scale=scale,
        tiling=tiling,
        **_common(options),
    )


def _common(options: Mapping[str, Any]) -> dict[str, Any]:
    """Half precision is refused: sums over an image pass what float16 holds. Sizes are seen to inside the networks."""
    return {
        'supports_half': False,
        'supports_bfloat16': False,
        'input_channels': options['in_channels'],
        'output_channels': options['in_channels'],
        'size_requirements': SizeRequirements(),
    }
