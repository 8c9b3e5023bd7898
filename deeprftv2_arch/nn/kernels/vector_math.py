"""exp2 and softplus of vectors of float32, as polynomials.

Coefficients: minimax fits of the relative error by linear programming, with the leading coefficients held at their
exact values, so that exp2 near 0 (slow decay) and softplus far below 0 (small steps) keep full relative accuracy.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from deeprftv2_arch.nn.kernels.build import FLAGS
from deeprftv2_arch.nn.kernels.simd import add_exponent, maximum, minus_abs, splat, where_negative

f32 = np.float32
LOG2_E = f32(1.4426950408889634)

# 1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = f32(12582912.0)
_ONE = f32(1)
_LN_2, _E2, _E3, _E4, _E5, _E6 = (
    f32(v)
    for v in (
        0.6931471805599453, 0.2402264754977094, 0.0555036225260425,
        0.009618526302482848, 0.0013390161485024828, 0.00015321155330920536,
    )
)  # fmt: skip
_L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    f32(v)
    for v in (
        -0.4999992762464742, 0.3332875563326094, -0.24917245498304652, 0.19379360204314128,
        -0.14205156434960448, 0.08416001762931531, -0.03288583237249205, 0.006015134438465461,
    )
)  # fmt: skip
# exp2 ends at 2**-126, the smallest normal number; exp at about the same.
_LOWEST_2, _LOWEST_E = f32(-126), f32(-87)


_S2, _S3, _S4, _S5 = (
    f32(v) for v in (0.24022281607939247, 0.05550559994431162, 0.009669708397495013, 0.0013300264070047227)
)


@njit(**FLAGS)
def exp2_short(x):
    """As `exp2` with a polynomial one degree shorter: relative error below 1.7e-7."""
    x = maximum(x, _LOWEST_2)
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)
    p = ((((r * _S5 + _S4) * r + _S3) * r + _S2) * r + _LN_2) * r + _ONE
    return add_exponent(p, shifted)


@njit(**FLAGS)
def exp2(x):
    """2**x for x <= 127, relative error below 7e-8. Below -126 it stays at 2**-126."""
    x = maximum(x, _LOWEST_2)
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)  # in [-0.5, 0.5]
    p = (((((r * _E6 + _E5) * r + _E4) * r + _E3) * r + _E2) * r + _LN_2) * r + _ONE
    return add_exponent(p, shifted)


@njit(**FLAGS)
def _exp_minus_abs(x):
    """exp(-|x|), with x log2(e) rounded only after the integer is taken off: exact also for large |x|."""
    x = maximum(minus_abs(x), _LOWEST_E)
    shifted = x * LOG2_E + _ROUND
    r = x * LOG2_E - (shifted - _ROUND)
    p = (((((r * _E6 + _E5) * r + _E4) * r + _E3) * r + _E2) * r + _LN_2) * r + _ONE
    return add_exponent(p, shifted)


@njit(**FLAGS)
def _log1p(e):
    """log(1 + e) for e in [0, 1], relative error below 2.5e-7."""
    p = (((((((e * _L8 + _L7) * e + _L6) * e + _L5) * e + _L4) * e + _L3) * e + _L2) * e + _L1) * e + _ONE
    return e * p


@njit(**FLAGS)
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); no overflow, and small values keep their relative accuracy."""
    return where_negative(x, splat(f32(0)), x) + _log1p(_exp_minus_abs(x))


@njit(**FLAGS)
def softplus_and_slope(x):
    """softplus(x) and its derivative 1 / (1 + exp(-x))."""
    e = _exp_minus_abs(x)
    slope = where_negative(x, e, splat(_ONE)) / (e + _ONE)
    return where_negative(x, splat(f32(0)), x) + _log1p(e), slope
