"""Adaptive Token Dictionary: the blocks of the super-resolution network ATD (Zhang et al., CVPR 2024)."""
