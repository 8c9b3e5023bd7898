"""Metrics, registered with BasicSR's ``METRIC_REGISTRY``; the toolbox's own PSNR and SSIM serve beside them."""
