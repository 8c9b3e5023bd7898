"""Data sets, registered with BasicSR's ``DATASET_REGISTRY``."""

from deeprftv2_arch.data.paired_deblur_dataset import PairedDeblurDataset

__all__ = ['PairedDeblurDataset']
