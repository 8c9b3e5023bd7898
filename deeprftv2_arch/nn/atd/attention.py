"""The three attentions of ATD: inside windows, to the token dictionary, and among pixels of like categories."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.atd.partition import partition
from deeprftv2_arch.nn.precision import at_least_float32, without_autocast

# Published: the learned temperature of the category attention is never sharper than this.
LARGEST_TEMPERATURE = 100.0


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L, 3C) -> queries, keys and values, each (B, heads, L, C / heads); no copy."""
    return qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def stable_order(categories: Tensor) -> Tensor:
    """Indices that sort (N, L) categories, those of one category in order: (N, L).

    torch's default reorders equal ones differently from device to device.
    """
    if torch.onnx.is_in_onnx_export():  # which has no stable sort: no two are equal here
        length = categories.shape[1]
        return (categories * length + torch.arange(length, device=categories.device)).argsort(dim=-1)
    return categories.argsort(dim=-1, stable=True)


class WindowAttention(nn.Module):
    """Self-attention inside windows with a learned bias for every relative position (Swin Transformer).

    Queries, keys and values come from the layer, which shares them with :class:`CategoryAttention`.

    Args:
        channels: Channels C.
        heads: Number of heads; divides C.
        window: Side of a window in pixels.
        shift: By how many pixels the windows are shifted.

    Shape:
        (N, H * W, 3C) -> (N, H * W, C).
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int = 0) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.proj = nn.Linear(channels, channels)

    def forward(self, qkv: Tensor, size: tuple[int, int]) -> Tensor:
        if isinstance(size[0], torch.SymInt) or isinstance(size[1], torch.SymInt):
            raise ValueError('its windows are tables for one size of images')
        rectangles, inverse = partition(*size, self.window, self.shift, qkv.device)
        table = self.bias_table.t().to(qkv.dtype)
        attended = []
        for queries, keys, positions, (count, pixels, seen) in rectangles:
            inside = qkv.index_select(1, queries).view(-1, pixels, qkv.shape[-1])
            q, k, v = split_heads(inside, self.heads)
            if keys is not queries:
                _, k, v = split_heads(qkv.index_select(1, keys).view(-1, seen, qkv.shape[-1]), self.heads)
            bias = table.index_select(1, positions).view(1, self.heads, pixels, seen)
            x = F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2)
            attended.append(x.reshape(len(qkv), count * pixels, -1))
        joined = attended[0] if len(attended) == 1 else torch.cat(attended, dim=1)
        return self.proj(joined.index_select(1, inverse))


class TokenAttention(nn.Module):
    """Cross-attention of the pixels to a dictionary of tokens, by cosine similarity of short codes ("ATD-CA").

    Args:
        channels: Channels C.
        tokens: Number of tokens M.
        code_channels: Length of the codes that are compared.

    Shape:
        (N, L, C), dictionary (N, M, C) -> (N, L, C), similarities (N, L, M) that sum to one over the tokens.
    """

    def __init__(self, channels: int, tokens: int, code_channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, code_channels)
        self.key = nn.Linear(channels, code_channels)
        self.value = nn.Linear(channels, channels)
        self.scale = nn.Parameter(torch.full((tokens,), 0.5))

    def forward(self, x: Tensor, dictionary: Tensor) -> tuple[Tensor, Tensor]:
        temperature = 1 + self.scale.clamp(0, 1) * math.log(len(self.scale))
        query, key = at_least_float32(self.query(x)), at_least_float32(self.key(dictionary))
        # Half precision would make tokens equally similar that are not, and categories of them.
        with without_autocast(x.device):
            key = F.normalize(key, dim=-1) * temperature[:, None]
            similarity = (F.normalize(query, dim=-1) @ key.transpose(1, 2)).softmax(dim=-1)
        return similarity.to(x.dtype) @ self.value(dictionary).to(x.dtype), similarity


class CategoryAttention(nn.Module):
    """Self-attention among pixels of like categories, wherever they are in the image ("AC-MSA").

    A pixel's category is the token it is most similar to. The pixels are sorted by category, in image order within one,
    and cut into groups of equal size, in which attention takes place. The last group is filled up with the last pixels
    in reverse order.

    Args:
        channels: Channels C.
        heads: Number of heads; divides C.
        group: Pixels of a group.

    Shape:
        (N, L, 3C), similarities (N, L, M) -> (N, L, C).
    """

    def __init__(self, channels: int, heads: int, group: int) -> None:
        super().__init__()
        self.heads, self.group = heads, group
        self.logit_scale = nn.Parameter(torch.full((1, 1), math.log(10)))
        self.proj = nn.Linear(channels, channels)

    def forward(self, qkv: Tensor, similarity: Tensor) -> Tensor:
        batch, length, channels = qkv.shape
        order = stable_order(similarity.argmax(dim=-1))
        group = min(length, self.group)
        padded = torch.cat([order, order.flip(1)[:, : -length % group]], dim=1)
        first = torch.arange(batch, device=qkv.device)[:, None] * length  # of each image, among the pixels of all
        grouped = qkv.flatten(0, 1).index_select(0, (padded + first).flatten()).view(-1, group, channels)
        q, k, v = split_heads(grouped, self.heads)
        q = q * self.logit_scale.clamp(max=math.log(LARGEST_TEMPERATURE)).exp().to(q.dtype)
        x = F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).reshape(batch, -1, channels // 3)
        inverse = torch.empty_like(order).scatter_(1, order, torch.arange(length, device=qkv.device).expand_as(order))
        first = first // length * padded.shape[1]
        return self.proj(x.flatten(0, 1).index_select(0, (inverse + first).flatten()).view(batch, length, -1))


class TokenRefinement(nn.Module):
    """Move every token towards the pixels most similar to it.

    The similarities of each token are normalised over the image's pixels and weight their mean; a learned gate mixes it
    with the token.

    Args:
        tokens: Number of tokens M.

    Shape:
        dictionary (N, M, C), similarities (N, L, M), pixels (N, L, C) -> (N, M, C).
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(tokens))
        self.bias = nn.Parameter(torch.zeros(tokens))
        self.gate = nn.Parameter(torch.zeros(tokens, 1))

    def forward(self, dictionary: Tensor, similarity: Tensor, x: Tensor) -> Tensor:
        similarity = similarity.transpose(1, 2)
        if similarity.shape[-1] > 1:
            similarity = F.instance_norm(similarity, weight=self.weight, bias=self.bias)
        else:
            similarity = self.bias[:, None].expand_as(similarity)  # a single pixel is its own mean
        mean = similarity.softmax(dim=-1).to(x.dtype) @ x
        return torch.lerp(mean.to(dictionary.dtype), dictionary, self.gate.sigmoid().to(dictionary.dtype))
