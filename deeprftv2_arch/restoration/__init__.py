"""Restoring photographs: the files, the network, tiles, and whether what comes out is to be trusted."""

from deeprftv2_arch.restoration.restorer import Restored, Restorer

__all__ = ['Restored', 'Restorer']
