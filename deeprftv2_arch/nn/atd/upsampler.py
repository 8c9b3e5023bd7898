"""From features to the larger image: the three ends that ATD is published with."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

# Channels between the body and the image in the two larger ends.
INNER = 64


def upsampler_steps(kind: str, scale: int) -> list[int]:
    """Return by what factors an end of ATD enlarges, one after the other.

    Raises:
        ValueError: An unknown kind, or one that cannot do the scale.
    """
    if kind == 'direct':
        return [scale]
    if kind == 'nearest':
        if scale != 4:
            raise ValueError(f"upsampler 'nearest' is for upscale 4, got {scale}")
        return [2, 2]
    if kind != 'pixelshuffle':
        raise ValueError(f"unknown upsampler {kind!r}: expected 'direct', 'pixelshuffle' or 'nearest'")
    if scale == 3:
        return [3]
    if scale < 2 or scale & (scale - 1):
        raise ValueError(f"upsampler 'pixelshuffle' is for upscale 3 and powers of 2, got {scale}")
    return [2] * (scale.bit_length() - 1)


def make_upsampler(kind: str, channels: int, image_channels: int, scale: int) -> nn.Sequential:
    """Make the last part of the network.

    Args:
        kind: ``direct``: one convolution, then a pixel shuffle (ATD-light). ``pixelshuffle``: the same step by step, by
            2 or 3, on 64 channels. ``nearest``: nearest-neighbour steps by 2, each with a convolution; for scale 4.
        channels: Channels C of the features.
        image_channels: Channels K of the image.
        scale: By what the sides grow.

    Returns:
        A module (N, C, H, W) -> (N, K, scale * H, scale * W).

    Raises:
        ValueError: An unknown kind, or one that cannot do the scale.
    """
    steps = upsampler_steps(kind, scale)
    if kind == 'direct':
        return nn.Sequential(
            OrderedDict(expand0=_conv(channels, image_channels * scale**2), shuffle0=nn.PixelShuffle(scale))
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers['entry'], layers['entry_activation'] = _conv(channels, INNER), nn.LeakyReLU(0.01)
    if kind == 'pixelshuffle':
        for index, step in enumerate(steps):
            layers[f'expand{index}'] = _conv(INNER, INNER * step**2)
            layers[f'shuffle{index}'] = nn.PixelShuffle(step)
    else:
        for index, step in enumerate(steps):
            layers[f'grow{index}'] = nn.Upsample(scale_factor=step, mode='nearest')
            layers[f'up{index}'] = _conv(INNER, INNER)
            layers[f'activation{index}'] = nn.LeakyReLU(0.2)
        layers['refine'] = _conv(INNER, INNER)
        layers['refine_activation'] = nn.LeakyReLU(0.2)
    layers['exit'] = _conv(INNER, image_channels)
    return nn.Sequential(layers)


def _conv(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1)
