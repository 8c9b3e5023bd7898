"""exp2, log and softplus in float32 as polynomials that LLVM can vectorise; libm calls would keep a loop scalar.

The functions are inlined into the kernels of `numba_kernels`, so a loop over lanes becomes one loop of vector
instructions.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

f32, i32 = np.float32, np.int32

# Every flag but nnan and ninf would reorder sums: exp2 and log below rely on the order of their operations, and a NaN
# in the input must come out as NaN.
FLAGS = {'nogil': True, 'error_model': 'numpy', 'boundscheck': False, 'cache': True, 'fastmath': {'contract', 'nsz'}}
# Sums over lanes may be split into vector lanes; only for functions without the polynomials.
FLAGS_SUMS = {**FLAGS, 'fastmath': {'contract', 'nsz', 'reassoc'}}

LOG2_E = f32(1.4426950408889634)


@intrinsic
def _bits(typing_context, x):
    """float32 -> int32 of the same bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _from_bits(typing_context, x):
    """int32 -> float32 of the same bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


# 1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = f32(12582912.0)
_E1, _E2, _E3, _E4, _E5, _E6 = (
    f32(v) for v in (6.9314718056e-1, 2.4022650696e-1, 5.5504108665e-2, 9.6181291076e-3, 1.3333558146e-3, 1.5403530394e-4)
)
_ONE = f32(1)
_LOWEST = f32(-126)


@njit(inline='always', **FLAGS)
def exp2(x):
    """2**x to about 1 ulp for x <= 127; below -126 it stays at the smallest normal number."""
    x = max(x, _LOWEST)
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)  # in [-0.5, 0.5]
    p = (((((_E6 * r + _E5) * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _ONE
    return _from_bits(i32(_bits(p) + i32(_bits(shifted) << i32(23))))


_L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10 = (
    f32(v)
    for v in (
        -0.5, 0.333331972, -0.249996200, 0.200120345, -0.166846126, 0.139814854, -0.121483512, 0.140869141, -0.130310059
    )
)  # fmt: skip
_TWO_THIRDS = i32(0x3F2AAAAB)  # bits of 2/3: mantissas are taken from [2/3, 4/3)
_EXPONENT = i32(-8388608)  # 0xff800000
_ULP = f32(1.1920928955e-7)  # 2**-23, turns exponent bits into a number
_LN_2 = f32(0.693147182)
_ZERO = f32(0)
_LINEAR = f32(20)


@njit(inline='always', **FLAGS)
def log(x):
    """The natural logarithm to about 1 ulp, for normal x > 0."""
    bits = _bits(x)
    exponent = i32(i32(bits - _TWO_THIRDS) & _EXPONENT)
    f = _from_bits(i32(bits - exponent)) - _ONE
    p = (((((((_L10 * f + _L9) * f + _L8) * f + _L7) * f + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2
    return f32(exponent) * _ULP * _LN_2 + (p * (f * f) + f)


@njit(inline='always', **FLAGS)
def softplus_sigmoid(x):
    """(log(1 + exp(x)), 1 / (1 + exp(-x))); both from one exp and one division. Above 20 softplus(x) is x."""
    e = exp2(min(x, _LINEAR) * LOG2_E)
    y = _ONE + e
    inverse = _ONE / y
    # log1p: log(y), corrected to first order by what rounding 1 + e lost.
    softplus = log(y) + (e - (y - _ONE)) * inverse
    return (softplus if x <= _LINEAR else x), e * inverse
