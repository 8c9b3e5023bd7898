"""Data sets, registered with BasicSR's ``DATASET_REGISTRY``."""

from deeprftv2_arch.data.paired_deblur_dataset import PairedDeblurDataset
from deeprftv2_arch.data.paired_sr_dataset import PairedSRDataset
from deeprftv2_arch.data.synthesized_blur_dataset import SynthesizedBlurDataset

__all__ = ['PairedDeblurDataset', 'PairedSRDataset', 'SynthesizedBlurDataset']
