"""Layers and blocks of ATD."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deeprftv2_arch.nn.atd.attention import CategoryAttention, TokenAttention, TokenRefinement, WindowAttention
from deeprftv2_arch.nn.norm import LayerNorm


def to_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H * W, C) -> (N, C, H, W), channels-last in memory; no copy."""
    return x.unflatten(1, size).permute(0, 3, 1, 2)


def to_pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W, C); no copy where the map lies channels-last in memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


class ConvFeedForward(nn.Module):
    """Two linear layers with a depthwise convolution between them, which adds to what it reads.

    Args:
        channels: Channels C.
        hidden: Channels between the linear layers.
        kernel: Side of the convolution in pixels; odd.

    Shape:
        (N, H * W, C) -> (N, H * W, C).
    """

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.project = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = F.gelu(self.expand(x))
        return self.project(x + F.gelu(to_pixels(self.depthwise(to_map(x, size)))))


class ATDLayer(nn.Module):
    """The three attentions side by side, then the feed-forward part.

    Args:
        channels: Channels C.
        heads: Heads of the window and of the category attention.
        window: Side of a window in pixels.
        shift: By how many pixels the windows are shifted.
        group: Pixels of a group of the category attention.
        tokens: Number of tokens M.
        code_channels: Length of the codes by which pixels and tokens are compared.
        ffn_channels: Channels inside the feed-forward part.
        ffn_kernel: Side of its convolution in pixels.
        refines: Whether the layer hands on a refined dictionary, or the one it was given.

    Shape:
        (N, H * W, C), dictionary (N, M, C) -> the same two.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        shift: int,
        group: int,
        tokens: int,
        code_channels: int,
        ffn_channels: int,
        ffn_kernel: int,
        refines: bool,
    ) -> None:
        super().__init__()
        self.norm_attention = LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.window = WindowAttention(channels, heads, window, shift)
        self.token = TokenAttention(channels, tokens, code_channels)
        self.category = CategoryAttention(channels, heads, group)
        self.norm_ffn = LayerNorm(channels)
        self.ffn = ConvFeedForward(channels, ffn_channels, ffn_kernel)
        self.refinement = TokenRefinement(tokens) if refines else None

    def forward(self, x: Tensor, dictionary: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        normed = self.norm_attention(x)
        qkv = self.qkv(normed)
        from_tokens, similarity = self.token(normed, dictionary)
        x = x + self.window(qkv, size) + from_tokens + self.category(qkv, similarity)
        x = x + self.ffn(self.norm_ffn(x), size)
        if self.refinement is not None:
            dictionary = self.refinement(dictionary, similarity, x)
        return x, dictionary


class ATDBlock(nn.Module):
    """Layers that share and refine a dictionary of tokens, then a convolution, and the input added.

    The dictionary is learned. What the layers make of it in one image ends with the block.

    Args:
        channels: Channels C.
        depth: Number of layers; every other one has shifted windows.
        window: Side of a window in pixels.
        tokens: Number of tokens M.
        exit_conv: The convolution, (N, C, H, W) -> (N, C, H, W).
        checkpointed: Whether layers are computed again in backward instead of stored.
        **layer: The other arguments of :class:`ATDLayer`.

    Shape:
        (N, H * W, C) -> (N, H * W, C).
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        window: int,
        tokens: int,
        exit_conv: nn.Module,
        checkpointed: bool = False,
        **layer: int,
    ) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.dictionary = nn.Parameter(torch.randn(tokens, channels))
        self.layers = nn.ModuleList(
            ATDLayer(
                channels,
                window=window,
                shift=window // 2 if index % 2 else 0,
                tokens=tokens,
                refines=index < depth - 1,
                **layer,
            )
            for index in range(depth)
        )
        self.conv = exit_conv

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        entered, dictionary = x, self.dictionary.expand(len(x), -1, -1)
        for layer in self.layers:
            if self.checkpointed and self.training:
                x, dictionary = checkpoint(layer, x, dictionary, size, use_reentrant=False)
            else:
                x, dictionary = layer(x, dictionary, size)
        return to_pixels(self.conv(to_map(x, size))) + entered
