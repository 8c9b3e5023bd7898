"""What the options of a network say about the images that it takes, by the names that networks have for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IMAGE_CHANNELS = ('in_channels', 'num_in_ch', 'in_chans', 'img_channel')
"""Names for the channels of the image: ours and Restormer's, BasicSR's, SwinIR's, NAFNet's."""


class WrapperOptions(dict[str, Any]):
    """The section of a network that wraps another one, its ``network``: keys that it lacks are looked up in that.

    Model classes of others read arguments of their network in ``opt['network_g']``, as SwinIR's reads ``window_size``.
    What is iterated over, or handed on as arguments, are the section's own keys.
    """

    def __missing__(self, key: str) -> Any:
        return self['network'][key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, here or in the wrapped network."""
        return self[key] if key in self else self['network'].get(key, default)


def unwrap(options: dict[str, Any]) -> None:
    """Let the arguments of wrapped networks be found in their sections, in place.

    Args:
        options: All options of a run.
    """
    for key, section in options.items():
        is_network = str(key).startswith('network_') and isinstance(section, Mapping)
        if is_network and section.get('type') == 'WithFKE' and isinstance(section.get('network'), Mapping):
            options[key] = WrapperOptions(section)


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
