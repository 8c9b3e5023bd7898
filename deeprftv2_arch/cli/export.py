"""`deeprftv2 export`: a network as a file for other programs."""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.cli.arguments import command_parser


def main(arguments: list[str] | None = None) -> None:
    """Export a network and tell how the file compares with it.

    Raises:
        UserError: A package is missing, the weights cannot be used, or the network cannot be exported.
    """
    parser = command_parser(
        'export',
        'Write a network as an ONNX file. It takes "image", (1, 3, H, W) RGB in [0, 1], and gives "restored". The file '
        'is kept only if onnxruntime computes with it what the network does.',
        'photos.safetensors --onnx photos.onnx',
        'atd.safetensors --onnx atd.onnx --size 64 64',
    )
    parser.add_argument('weights', metavar='WEIGHTS', help='weights of ours or of others (docs/restore.md)')
    parser.add_argument('--onnx', required=True, metavar='OUT', help='the file to write')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help='of all images, for networks that do not take any size'
    )
    args = parser.parse_args(arguments)

    # Only now what takes seconds to import.
    from deeprftv2_arch.export.onnx_file import check_onnx, export_onnx

    check_onnx()
    from deeprftv2_arch.basicsr_compat.registration import register_all

    register_all()
    from deeprftv2_arch.restoration.network import load_network

    network = load_network(args.weights)
    exported = export_onnx(network, Path(args.onnx), None if args.size is None else tuple(args.size))
    sizes = ', '.join(f'{height} x {width}' for height, width in dict.fromkeys(exported.sizes))
    takes = 'images of any size' if args.size is None else 'images of this size alone'
    print(
        f'{args.weights} -> {exported.path}: {network.name}, {takes}; compared at {sizes}, largest difference '
        f'{exported.difference:.1e}'
    )
