"""Metrics, registered with BasicSR's ``METRIC_REGISTRY``; BasicSR's own PSNR and SSIM serve beside them."""

from deeprftv2_arch.metrics.lpips_alex import calculate_lpips, lpips_alex
from deeprftv2_arch.metrics.pixelwise import calculate_mae, calculate_psnr_float, mean_absolute_error, psnr
from deeprftv2_arch.metrics.realblur import (
    align,
    aligned_psnr,
    aligned_ssim,
    calculate_psnr_aligned,
    calculate_ssim_aligned,
)
from deeprftv2_arch.metrics.ssim import calculate_ssim_3d, calculate_ssim_uniform, ssim_3d, ssim_uniform

__all__ = [
    'align',
    'aligned_psnr',
    'aligned_ssim',
    'calculate_lpips',
    'calculate_mae',
    'calculate_psnr_aligned',
    'calculate_psnr_float',
    'calculate_ssim_3d',
    'calculate_ssim_aligned',
    'calculate_ssim_uniform',
    'lpips_alex',
    'mean_absolute_error',
    'psnr',
    'ssim_3d',
    'ssim_uniform',
]
