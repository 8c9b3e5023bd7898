"""Vectors of float32 for Numba functions: 16 with AVX-512, else 8.

Numba leaves it to LLVM to find vector loops in scalar code, and LLVM often does not: it gives up on unrolled bodies, or
spends a third of a short loop on checks whether arrays overlap. Here the vectors are written out, as a Numba type with
`+ - * /` (a float32 on one side is repeated in all lanes) and the few functions below. A vector is one register of
AVX-512 or of AVX2, two of SSE or NEON. It is no wider than a register: AVX2 has 16 of them, which the sums of the
kernels fill, and what does not fit goes through memory.
"""

from __future__ import annotations

import operator

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

# What Numba compiles for; NUMBA_CPU_FEATURES can name less than this machine has.
_FEATURES = getattr(config, 'CPU_FEATURES', None) or binding.get_host_cpu_features().flatten()
WIDE = '+avx512f' in _FEATURES
"""Whether there are registers of 16 floats."""
LANES = 16 if WIDE else 8

FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
# Fused multiply-add is welcome and zeros may lose their sign; nothing is reordered and NaN stays NaN.
MATH = ('contract', 'nsz')


class VectorType(types.Type):
    """The Numba type of a vector; it lives in registers inside compiled functions only."""

    def __init__(self) -> None:
        super().__init__(name=f'float32x{LANES}')


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type) -> None:
        super().__init__(manager, numba_type, FLOATS)


def _repeated(value: int) -> ir.Constant:
    return ir.Constant(_INTS, [value] * LANES)


def broadcast(builder, scalar, vector_type=FLOATS):
    undefined = ir.Constant(vector_type, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, _repeated(0))


def _define_operator(function, instruction: str) -> None:
    @type_callable(function)
    def _type(context):
        def typer(a, b):
            operands = (a, b)
            if vector in operands and all(x in (vector, types.float32) for x in operands):
                return vector

        return typer

    def lower(context, builder, signature, arguments):
        pairs = zip(arguments, signature.args, strict=True)
        a, b = (x if kind is vector else broadcast(builder, x) for x, kind in pairs)
        return getattr(builder, instruction)(a, b, flags=MATH)

    for operands in ((vector, vector), (vector, types.float32), (types.float32, vector)):
        lower_builtin(function, *operands)(lower)


_define_operator(operator.add, 'fadd')
_define_operator(operator.sub, 'fsub')
_define_operator(operator.mul, 'fmul')
_define_operator(operator.truediv, 'fdiv')


def element(context, builder, array_type, array, index_type, index):
    """Return the address of array[index], without the handling of negative indices."""
    array = context.make_array(array_type)(context, builder, array)
    indices = cgutils.unpack_tuple(builder, index, len(index_type))
    indices = [context.cast(builder, i, kind, types.intp) for i, kind in zip(indices, index_type, strict=True)]
    return cgutils.get_item_pointer(context, builder, array_type, array, indices, wraparound=False)


def _pointer(context, builder, *arguments):
    """Return the address of the vector from array[index] on."""
    return builder.bitcast(element(context, builder, *arguments), FLOATS.as_pointer())


@intrinsic
def load_one(typing_context, array, index):
    """array[index], one float."""

    def generate(context, builder, signature, arguments):
        return builder.load(element(context, builder, array, arguments[0], index, arguments[1]))

    return types.float32(array, index), generate


@intrinsic
def load(typing_context, array, index):
    """Load the vector from array[index] on, along the last axis. The array is contiguous; nothing is checked."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], index, arguments[1])
        return builder.load(pointer, align=4)

    return vector(array, index), generate


@intrinsic
def store(typing_context, array, index, value):
    """array[index] and the floats after it = value."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], index, arguments[1])
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, vector), generate


@intrinsic
def prefetch(typing_context, array, index):
    """Asks for the cache line of array[index], into the second-level cache. The index may lie outside the array."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], index, arguments[1])
        read, second_level, data = (ir.Constant(ir.IntType(32), value) for value in (0, 2, 1))
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, read.type, read.type, read.type])
        function = cgutils.get_or_insert_function(builder.module, kind, 'llvm.prefetch.p0')
        builder.call(function, [pointer, read, second_level, data])
        return context.get_dummy_value()

    return types.void(array, index), generate


def _mask(builder, count):
    lanes = ir.Constant(_INTS, list(range(LANES)))
    return builder.icmp_signed('<', lanes, broadcast(builder, builder.trunc(count, ir.IntType(32)), _INTS))


@intrinsic
def load_part(typing_context, array, index, count):
    """`load` of the first count floats; the other lanes are 0 and their memory is not touched."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], index, arguments[1])
        mask, align = _mask(builder, arguments[2]), ir.Constant(ir.IntType(32), 4)
        kind = ir.FunctionType(FLOATS, [pointer.type, align.type, mask.type, FLOATS])
        function = cgutils.get_or_insert_function(builder.module, kind, f'llvm.masked.load.v{LANES}f32.p0')
        return builder.call(function, [pointer, align, mask, ir.Constant(FLOATS, [0.0] * LANES)])

    return vector(array, index, types.intp), generate


@intrinsic
def store_part(typing_context, array, index, count, value):
    """`store` of the first count lanes."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], index, arguments[1])
        mask, align = _mask(builder, arguments[2]), ir.Constant(ir.IntType(32), 4)
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, pointer.type, align.type, mask.type])
        function = cgutils.get_or_insert_function(builder.module, kind, f'llvm.masked.store.v{LANES}f32.p0')
        builder.call(function, [arguments[3], pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, index, types.intp, vector), generate


@intrinsic
def splat(typing_context, scalar):
    """Return a vector of the same float32 in all lanes."""

    def generate(context, builder, signature, arguments):
        return broadcast(builder, arguments[0])

    return vector(types.float32), generate


@intrinsic
def maximum(typing_context, x, bound):
    """x, or the float32 bound where x is below it; NaN stays NaN."""

    def generate(context, builder, signature, arguments):
        x, bound = arguments[0], broadcast(builder, arguments[1])
        return builder.select(builder.fcmp_ordered('<', x, bound), bound, x)

    return vector(vector, types.float32), generate


@intrinsic
def where_negative(typing_context, x, a, b):
    """Return a where x < 0, else b: also where x is NaN."""

    def generate(context, builder, signature, arguments):
        x, a, b = arguments
        return builder.select(builder.fcmp_ordered('<', x, ir.Constant(FLOATS, [0.0] * LANES)), a, b)

    return vector(vector, vector, vector), generate


@intrinsic
def minus_abs(typing_context, x):
    """-|x|."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], _INTS)
        return builder.bitcast(builder.or_(bits, _repeated(-(2**31))), FLOATS)

    return vector(vector), generate


@intrinsic
def add_exponent(typing_context, x, shifted):
    """x * 2**k, with k the integer in the low bits of shifted (see `numba_math.exp2`). Normal numbers only."""

    def generate(context, builder, signature, arguments):
        bits, k = (builder.bitcast(argument, _INTS) for argument in arguments)
        return builder.bitcast(builder.add(bits, builder.shl(k, _repeated(23))), FLOATS)

    return vector(vector, vector), generate


@intrinsic
def sum_lanes_of_rows(typing_context, array, index):
    """LANES rows of LANES floats from array[index] on -> the vector of their sums, lane k the sum of row k.

    Rows are added in pairs, each sum half of either, until one vector is left: 15 additions for 16 rows instead
    of 16 times 4.
    """

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], index, arguments[1])
        rows = [builder.gep(pointer, [ir.Constant(ir.IntType(64), row)]) for row in range(LANES)]
        rows = [builder.load(row, align=4) for row in rows]
        bit = 1
        while len(rows) > 1:
            # The lanes without the bit come from the first row of a pair, the lanes with it from the second; added to
            # each is the lane of the same row that differs in the bit.
            own = ir.Constant(_INTS, [lane + LANES * bool(lane & bit) for lane in range(LANES)])
            other = ir.Constant(_INTS, [(lane ^ bit) + LANES * bool(lane & bit) for lane in range(LANES)])
            pairs = zip(rows[0::2], rows[1::2], strict=True)
            rows = [
                builder.fadd(builder.shuffle_vector(a, b, own), builder.shuffle_vector(a, b, other)) for a, b in pairs
            ]
            bit *= 2
        return rows[0]

    return vector(array, index), generate
