"""What the options of a network say about the images that it takes, by the names that networks have for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IMAGE_CHANNELS = ('in_channels', 'num_in_ch', 'in_chans', 'img_channel')
"""Names for the channels of the image: ours and Restormer's, BasicSR's, SwinIR's, NAFNet's."""


def find(options: Mapping[str, Any], *names: str) -> Any:
    """Return the first of several keys that a network's options have; of a wrapped network, that of the inner one.

    Args:
        options: The section, such as ``network_g``.
        names: The keys.

    Returns:
        Its value; None if there is none of them.
    """
    for name in names:
        if name in options:
            return options[name]
    inner = options.get('network')
    return find(inner, *names) if isinstance(inner, Mapping) else None


def image_channels(options: Mapping[str, Any]) -> int:
    """Return the channels of the images that a network takes: 3 unless its options say otherwise."""
    channels = find(options, *IMAGE_CHANNELS)
    return channels if isinstance(channels, int) and channels > 0 else 3


def window(options: Mapping[str, Any]) -> int:
    """Return the number of pixels of which the sides of an image must be multiples: `window_size`, as SwinIR calls it.

    Returns:
        1 if any size will do.
    """
    size = find(options, 'window_size')
    return size if isinstance(size, int) and size > 0 else 1
