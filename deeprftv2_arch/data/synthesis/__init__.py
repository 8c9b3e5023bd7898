"""Photographs of a shaken or unfocused camera, made from sharp ones: kernels, moving views, light and camera."""
