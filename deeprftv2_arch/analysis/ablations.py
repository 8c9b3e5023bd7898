"""The rows of the paper's ablations, tables 6 and 7, as arguments of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# One list of block types is a UNet at one scale, two are the decoupled scales (DMS).
_UNET = [['naf', 'naf', 'naf']]
_DMS = [['naf', 'naf', 'naf'], ['naf', 'naf', 'naf']]
_DMS_VS = [['naf', 'nafevs', 'nafevs'], ['naf', 'naf', 'naf']]
_DOUBLED = [2, 2, 2, 2]

COUNTED = "The structure is the one whose operations agree with the paper's count (1.010 to 1.015 times ours)."
ASSUMED = 'The table does not name the rest of the network: its 33.06 dB row is that of table 6 with ResBlocks (row 5).'


@dataclass(frozen=True)
class Ablation:
    """A row of a table.

    Attributes:
        table, row: Where it stands; rows are counted from 1.
        says: What the row changes, in words.
        network: Arguments of DeepRFTv2, as ``network_g`` takes them.
        psnr: Published PSNR on GoPro in dB; None where the table cannot be read.
        gflops: Published operations at 256 x 256 in 10^9; None where the table has none.
        certain: What of the structure is certain, and what is not.
    """

    table: int
    row: int
    says: str
    network: Mapping[str, Any] = field(repr=False)
    psnr: float | None
    gflops: float | None = None
    certain: str = COUNTED

    @property
    def name(self) -> str:
        """The name by which the command knows it: ``table6.5``."""
        return f'table{self.table}.{self.row}'


def _network(width: int = 48, blocks: list[list[str]] = _UNET, columns: int = 1, **others: Any) -> dict[str, Any]:
    network = {'type': 'DeepRFTv2', 'width': width, 'num_blocks': [1, 4, 8], 'block_types': blocks}
    return {**network, 'num_columns': columns, 'reversible': True, 'fke': True, **others}


def _res_network(**others: Any) -> dict[str, Any]:
    return _network(fke_block='res', **others)


_TABLE_6 = (
    Ablation(6, 1, 'NAF, one-scale UNet, width 56', _network(56, fke=False), 33.00, 34.93),
    Ablation(6, 2, 'NAF, MIMO-UNet, width 56', _network(56, fke=False, layout='mimo'), 32.95, 36.42),
    Ablation(6, 3, 'NAF, DMS-UNet', _network(blocks=_DMS, fke=False), 33.32, 33.40),
    Ablation(6, 4, 'NAF, one-scale UNet', _network(fke=False), 32.74, 25.81),
    Ablation(6, 5, 'row 4 + FKE of ResBlocks', _res_network(), 33.06, 32.32),
    Ablation(6, 6, 'row 4 + FKE of NAFBlocks', _network(fke_block='naf'), 33.10, 28.82),
    Ablation(6, 7, 'row 4 + FKE of VSBlocks', _network(), 33.11, 28.84),
    Ablation(6, 8, 'row 6, FKE doubled', _network(fke_block='naf', fke_depths=_DOUBLED), 33.11, 30.82),
    Ablation(6, 9, 'row 7, FKE doubled', _network(fke_depths=_DOUBLED), 33.17, 30.86),
    Ablation(6, 10, 'row 3 + FKE of VSBlocks', _network(blocks=_DMS), 33.62, 37.18),
    Ablation(6, 11, 'row 3, two columns', _network(blocks=_DMS, columns=2, fke=False), 33.66, 67.19),
    Ablation(6, 12, 'row 10, NAFEVSBlocks in the UNet', _network(blocks=_DMS_VS), 33.84, 59.67),
    Ablation(
        6,
        13,
        'row 10, UNet and FKE doubled',
        _network(blocks=_DMS, num_blocks=[2, 8, 16], fke_depths=_DOUBLED),
        33.90,
        70.26,
    ),
    Ablation(6, 14, 'row 10, two columns (DeepRFTv2-S)', _network(blocks=_DMS, columns=2), 34.10, 75.34),
    Ablation(6, 15, 'row 12, two columns (DeepRFTv2-B)', _network(blocks=_DMS_VS, columns=2), 34.34, 120.3),
)

_TABLE_7 = (
    Ablation(7, 1, 'no FKE', _network(fke=False), 32.74, certain='Certain: the row of table 6 with this PSNR, row 4.'),
    Ablation(
        7,
        2,
        'kernel predicted in the image plane',
        _res_network(fke_domain='spatial'),
        32.72,
        certain=f'{ASSUMED} How the kernel is predicted in the image plane is not said; here over the whole map.',
    ),
    Ablation(
        7,
        3,
        'no ReLU in Fourier space',
        _res_network(fke_activation=False),
        32.74,
        certain=f'{ASSUMED} So "Act" is taken for the ReLU of its ResBlocks.',
    ),
    Ablation(
        7,
        4,
        'input: the blurred image B',
        _res_network(fke_input='image'),
        None,
        certain=f'{ASSUMED} What replaces d_1 is both read and convolved here; the paper does not say.',
    ),
    Ablation(
        7,
        5,
        'input: the restored image S^',
        _res_network(fke_input='restored'),
        32.84,
        certain=f'{ASSUMED} That this PSNR belongs to this row is not sure. What replaces d_1 is read and convolved.',
    ),
    Ablation(
        7,
        6,
        'input: the encoder feature e_1',
        _res_network(fke_input='encoder'),
        32.72,
        certain=f'{ASSUMED} That this PSNR belongs to this row is not sure. What replaces d_1 is read and convolved.',
    ),
    Ablation(
        7,
        7,
        'added to the spectrum, not multiplied',
        _res_network(fke_operation='add'),
        32.90,
        certain=f'{ASSUMED} The kernel is added to the spectrum that it is multiplied by elsewhere.',
    ),
    Ablation(7, 8, 'input d_1, multiplied', _res_network(), 33.06, certain='Certain by its PSNR: row 5 of table 6.'),
    Ablation(
        7,
        9,
        'row 10 without the skip of the FKE',
        _network(blocks=_DMS, columns=2, fke_skip=False),
        34.04,
        certain='Certain from the text: row 14 of table 6 without the fusion with the levels of the column before.',
    ),
    Ablation(
        7,
        10,
        'DeepRFTv2-S',
        _network(blocks=_DMS, columns=2),
        34.10,
        certain='Certain from the text: row 14 of table 6.',
    ),
)

ABLATIONS = {ablation.name: ablation for ablation in (*_TABLE_6, *_TABLE_7)}
TABLES = ('table6', 'table7')


def rows_of(table: str) -> Iterator[Ablation]:
    """Yield the rows of ``table6`` or ``table7`` in order."""
    for ablation in ABLATIONS.values():
        if ablation.name.startswith(f'{table}.'):
            yield ablation
