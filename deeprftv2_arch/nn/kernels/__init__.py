"""What the compiled CPU kernels share: SIMD, vector mathematics, how they are built, threads."""
