"""What the compiled CPU kernels share: SIMD, vector mathematics, threads."""
