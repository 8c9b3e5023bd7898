"""Speed and memory of the super-resolution networks on the CPU, in one run: `python benchmarks/sr.py`.

Needs `pip install --no-deps spandrel safetensors einops` for the published ATD. It and ours get the same weights by
`deeprftv2 convert`, with category projections of a five-hundredth: with larger ones a pixel whose two likeliest
tokens are equal but for rounding shows, as it changes the order of all others. For the comparison alone the published
one sorts its pixels in a stable way, as ours always does. All networks run in turns on one image in float32, and the
fastest run of each counts. The peak memory is that of a process of its own for every figure: by how much one forward
pass raises its resident size. Behind it, the same as a number of maps of the body's width, on which `tile: auto` builds
its estimate.

`python benchmarks/sr.py --large 1200x1600` measures a large image in tiles, `--depths 1 1` with fewer layers: that
changes the time and hardly the memory, as a forward pass keeps nothing of the layer before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from machine import GIVES_FREED_MEMORY_BACK, MB, describe, fastest_in_turns, in_own_process, peak_growth, seconds
from torch import nn

import deeprftv2_arch  # noqa: F401
from deeprftv2_arch.archs.atd_arch import ATD, ATDFKE, PEAK_MAPS
from deeprftv2_arch.cli.convert import to_published

UPSCALE, WIDTH = 4, 48
PEER = 'published ATD'
SPEED_TARGET, FKE_TARGET, SAME = 1.5, 1.35, 2e-5


def networks() -> dict[str, Callable[[], nn.Module]]:
    """What is measured, by name. The estimators see whole maps too, so that all networks do the same pixels."""
    found: dict[str, Callable[[], nn.Module]] = {
        'ATD': lambda: with_weights(ATD),
        'ATD + FKE': lambda: with_weights(ATDFKE, tile=None, fke_window=None),
    }
    try:
        from spandrel.architectures.ATD import ATD as PublishedATD  # noqa: N811
    except ImportError as error:
        print(f'No peer ({error}): pip install --no-deps spandrel safetensors einops')
        return found

    def published() -> nn.Module:
        net = PublishedATD(
            upscale=UPSCALE,
            img_size=64,
            embed_dim=WIDTH,
            depths=[6] * 4,
            num_heads=[4] * 4,
            window_size=16,
            category_size=128,
            num_tokens=64,
            reducted_dim=8,
            convffn_kernel_size=7,
            mlp_ratio=1,
            upsampler='pixelshuffledirect',
        )
        net.load_state_dict(to_published(found['ATD']().state_dict()))
        return net.eval()

    return {PEER: published, **found}


@torch.no_grad()
def with_weights(network: type[ATD], **options: object) -> ATD:
    """The same weights every time: larger than those a training starts from, so that every part shows."""
    torch.manual_seed(0)
    net = network(UPSCALE, **options)
    for name, parameter in net.named_parameters():
        if name.endswith('weight') and parameter.dim() > 1 and not name.startswith('estimators'):
            spread = 0.002 if name.endswith('category.proj.weight') else 1
            if name.startswith('upsampler'):
                spread = 0.25  # for values as images have them
            parameter.normal_(0, spread * parameter[0].numel() ** -0.5)
    return net.eval()


@contextmanager
def stable_sort() -> Iterator[None]:
    """Let `torch.sort` keep the order of equals, whoever calls it."""
    sort = torch.sort
    torch.sort = lambda x, dim=-1, **options: sort(x, dim=dim, **{**options, 'stable': True})
    try:
        yield
    finally:
        torch.sort = sort


def image(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))


def print_peak(net: nn.Module, height: int, width: int) -> None:
    """Bytes by which a forward pass raises the peak of this process, and its seconds, as JSON."""
    with torch.no_grad():
        net(torch.rand(1, 3, 64, 64))
        x, took = image(height, width), 0.0

        def run() -> None:
            nonlocal took
            took = seconds(lambda: net(x))

        peak = peak_growth(run)
    print(json.dumps({'peak': peak, 'seconds': took}))


def compare(sizes: list[int], threads: int, rounds: int) -> None:
    makers = networks()
    nets = {name: make() for name, make in makers.items()}
    print(f'{describe()}; x{UPSCALE}, float32')
    for size in sizes:
        x = image(size, size)
        with torch.no_grad():
            with stable_sort():
                outputs = {name: net(x) for name, net in nets.items()}
            times = fastest_in_turns(lambda name, x=x: nets[name](x), nets, rounds)
        print(f'{f"{size}x{size}":14} {"seconds":>8} {"peak MB":>8} {"maps":>5}')
        peaks = {}
        for name in nets:
            options = ('--threads', threads, '--peak', name, '--sizes', size)
            peaks[name] = in_own_process(__file__, *options, environment=GIVES_FREED_MEMORY_BACK)['peak']
            print(
                f'{name:14} {times[name]:8.3f} {peaks[name] / MB:8.0f} {peaks[name] / (size**2 * WIDTH * 4):5.1f}',
                flush=True,
            )
        if PEER in nets:
            difference = float((outputs['ATD'] - outputs[PEER]).abs().max())
            judge('  largest difference of the outputs', difference, SAME, difference <= SAME)
            ratio = times[PEER] / times['ATD']
            judge(f'  speed, ATD to {PEER}', ratio, SPEED_TARGET, ratio >= SPEED_TARGET)
            ratio = peaks['ATD'] / peaks[PEER]
            judge(f'  peak memory, ATD / {PEER}', ratio, 1, ratio <= 1)
        ratio = times['ATD + FKE'] / times['ATD']
        judge('  time, ATD + FKE / ATD', ratio, FKE_TARGET, ratio <= FKE_TARGET)


def judge(what: str, figure: float, target: float, met: bool) -> None:
    print(f'{what}: {figure:.3g} (target {target:g}, {"met" if met else "not met"})')


def show_large(sizes: list[str], depths: list[int], tiles: list[int], threads: int) -> None:
    print(f'{describe()}; ATD x{UPSCALE}, layers {depths}, float32; auto counts on {PEAK_MAPS} maps')
    print(f'{"image":12} {"tile":>5} {"seconds":>8} {"peak MB":>8} {"upscaled MB":>12} {"beside it MB":>13}')
    for size in sizes:
        height, width = map(int, size.split('x'))
        upscaled = 3 * height * width * UPSCALE**2 * 4
        for tile in tiles:
            options = ('--threads', threads, '--measure', size, '--tiles', tile, '--depths', *depths)
            found = in_own_process(__file__, *options, environment=GIVES_FREED_MEMORY_BACK)
            print(
                f'{size:12} {tile:5} {found["seconds"]:8.1f} {found["peak"] / MB:8.0f} {upscaled / MB:12.0f} '
                f'{(found["peak"] - upscaled) / MB:13.0f}',
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+', default=[64, 128], help='sides of the small images')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--large', nargs='+', metavar='HxW', help='measure these images in tiles, and nothing else')
    parser.add_argument('--tiles', type=int, nargs='+', default=[64], help='sides of the tiles of --large')
    parser.add_argument('--depths', type=int, nargs='+', default=[6] * 4, help='layers of each block for --large')
    parser.add_argument('--peak', metavar='NETWORK', help=argparse.SUPPRESS)
    parser.add_argument('--measure', metavar='HxW', help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print_peak(networks()[args.peak](), args.sizes[0], args.sizes[0])
    elif args.measure:
        net = ATD(UPSCALE, depths=args.depths, tile=args.tiles[0])
        print_peak(net.eval(), *map(int, args.measure.split('x')))
    elif args.large:
        show_large(args.large, args.depths, args.tiles, args.threads)
    else:
        compare(args.sizes, args.threads, args.rounds)


if __name__ == '__main__':
    main()
