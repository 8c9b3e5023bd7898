"""Everything in our FDIKP that no source says: one entry each, with its reason. `docs/fdikp.md` shows the same table.

Known are the abstract of arXiv 2508.12736 and one row of figures; the rest is filled in from related published
networks, or by what could be measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Assumption(NamedTuple):
    """What is assumed.

    Attributes:
        number: A1, A2, ...
        what: What had to be decided.
        choice: What was decided.
        reason: Why.
        arguments: Arguments of the network that it is the default of.
    """

    number: str
    what: str
    choice: str
    reason: str
    arguments: Mapping[str, Any] = {}


ASSUMPTIONS = (
    Assumption(
        'A1',
        'number of inverse kernels',
        '8 for each image and scale',
        'The abstract says few. P2IKT mixes 6 fixed kernels.',
        {'num_kernels': 8},
    ),
    Assumption(
        'A2',
        'size of the kernels',
        '15 x 15, depthwise on the colours of the image',
        'The largest of INIKNet. Cut so, the Wiener filter undoes 99 % of what it could for a Gaussian of 1 pixel, '
        '78 % for 2 pixels, and 56 % for a disk of radius 3, which wants 31 taps.',
        {'kernel_size': 15},
    ),
    Assumption(
        'A3',
        'what the frequency branch reads',
        'log power of 16 projected features, Hann tiles of 64 that overlap by half, with the cosines of the two '
        'frequencies',
        'A blur is a sum there, wherever things lie and however large the image is. Without coordinates a convolution '
        'cannot tell low from high frequencies.',
        {'spectrum_tile': 64, 'spectral_channels': 16, 'branches': 'both'},
    ),
    Assumption(
        'A4',
        'features',
        'U-Net of NAFBlocks, 48, 96, 192 channels; 2, 4, 6 blocks; the same weights at every scale',
        'The block of this package; shared weights as in P2IKT and INIKNet.',
        {'in_channels': 3, 'width': 48, 'num_blocks': (2, 4, 6)},
    ),
    Assumption(
        'A5',
        'form of the frequency branch',
        'a real gain per frequency, which makes kernels that are symmetric about their centre',
        'A power spectrum has no phase, and defocus is nearly symmetric.',
    ),
    Assumption(
        'A6',
        'range of the gain',
        '1/10 to 10, positive, 1 for DC; `signed_gain` lifts it',
        'A Wiener filter with a noise floor of 0.01 has gains up to 5. The transform of a disk changes its sign.',
        {'signed_gain': False},
    ),
    Assumption(
        'A7',
        'sum of a kernel',
        '1, by taking the mean off the change of the unit pulse; taps of any sign',
        'Brightness must stay, and kernels without negative taps cannot sharpen. Of dividing by the sum, correcting '
        'the centre and taking the mean off, the last stays nearest to the Wiener filter when it is cut.',
    ),
    Assumption(
        'A8',
        'position adaptive convolution',
        'softmax per pixel over the kernels and the image itself; the weighted stack is handed on',
        'As in PAConv: a bank and scores per position. Handing on the unweighted stack would leave the scores to the '
        'first output alone.',
        {'dilations': (1,)},
    ),
    Assumption(
        'A9',
        'cell of the recurrence',
        'convolutional LSTM at half resolution, 48 channels; its spectrum through two 1x1 convolutions; the result is '
        'a change of the deconvolved image',
        'The cell and the form of the weights of GKMNet and P2IKT; the spectrum is the second domain of the abstract. '
        'As a change of the blurred image, a short training ended below the deconvolved one.',
        {'domains': 'both', 'recurrent': True, 'state_channels': 48, 'spectral_window': None},
    ),
    Assumption(
        'A10',
        'loss',
        'L1 and 0.01 of the frequency loss, on both images of every scale',
        'That of DeepRFTv2, so that rows can be compared. P2IKT and INIKNet add LPIPS: `LPIPSLoss`.',
    ),
    Assumption(
        'A11',
        'training',
        '132,000 iterations with crops of 384, then 8,800 with 512; 4 images each',
        'The epochs of P2IKT on DPDD.',
    ),
    Assumption(
        'A12',
        'optimizer',
        'Adam with 2e-4 on a cosine, a running mean of the weights',
        'P2IKT takes Adam and averages weights over the last 100 epochs.',
    ),
    Assumption(
        'A13',
        'scales',
        'full, half, quarter resolution; the coarser result, enlarged bilinearly, is deconvolved too',
        'As in P2IKT and GKMNet.',
        {'num_scales': 3},
    ),
    Assumption(
        'A14',
        'border and sizes that do not fit',
        'mirrored',
        'An edge of zeros would be a sharp edge in the spectrum of a blurred image.',
    ),
    Assumption(
        'A15',
        'how an image is tested',
        'whole; `tile` gives each tile kernels of its own',
        'P2IKT tests whole images.',
        {'tile': None, 'tile_overlap': None},
    ),
    Assumption(
        'A16',
        'reach of the head over frequencies',
        'two pairs of 3x3 convolutions, each with the mean over all frequencies added',
        'The inverse of a frequency below the noise has to be told from all others.',
    ),
)
"""By number."""
