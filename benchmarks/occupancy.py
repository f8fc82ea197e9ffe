"""How many programs of a kernel one multiprocessor holds at a time, from what each program takes.

A program is a thread block (workgroup), a warp a wavefront, and a multiprocessor an SM or a compute unit.
"""

from __future__ import annotations

from dataclasses import dataclass

# The five targets keep registers alike: four partitions of a multiprocessor, 512 registers of 32 bits for each lane of
# a warp in each partition, given out in eights. (NVIDIA counts 65,536 of a multiprocessor, in 256 of a warp.) Scalar
# registers on AMD bind only beyond 100, and then at 7 warps a partition in place of 8.
PARTITIONS = 4
LANE_REGISTERS = 512
REGISTER_UNIT = 8
TENSOR_MEMORY = 512
"""Columns of tensor memory of one multiprocessor, where there is any."""


@dataclass(frozen=True)
class Limits:
    """What one multiprocessor offers. Shared memory in bytes.

    Args:
        warps: resident at most.
        programs: resident at most, of more than one warp.
        single_warp_programs: resident at most, of one warp; on AMD such a program takes no barrier.
        shared: shared memory of the multiprocessor.
        program_shared: the most that one program may ask for.
        reserved_shared: what the system takes for each program beside what it asks for.
        shared_unit: shared memory is given out in multiples of this.
    """

    warps: int
    programs: int
    single_warp_programs: int
    shared: int
    program_shared: int
    reserved_shared: int
    shared_unit: int


# NVIDIA: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", and the units in the CUDA
# toolkit's cuda_occupancy.h. AMD: the CDNA3 ISA guide, and LLVM's AMDGPUBaseInfo (waves, barriers and LDS units of
# gfx9); LDS is AMD's shared memory.
LIMITS = {
    "sm_75": Limits(32, 16, 16, 64 << 10, 64 << 10, 0, 256),
    "sm_80": Limits(64, 32, 32, 164 << 10, 163 << 10, 1 << 10, 128),
    "sm_90": Limits(64, 32, 32, 228 << 10, 227 << 10, 1 << 10, 128),
    "sm_100": Limits(64, 32, 32, 228 << 10, 227 << 10, 1 << 10, 128),
    "gfx942": Limits(32, 16, 32, 64 << 10, 64 << 10, 0, 512),
}


@dataclass(frozen=True)
class Occupancy:
    """Programs and warps resident on one multiprocessor, of how many warps, and what keeps more from it.

    `limited_by` is "registers", "shared memory", "tensor memory", "warps" or "programs". No program is resident
    where a single one does not fit.
    """

    programs: int
    warps: int
    max_warps: int
    limited_by: str


def occupancy(target: str, warps: int, registers: int, shared: int, tensor_memory: int = 0) -> Occupancy:
    """Occupancy by a kernel whose programs have that many warps.

    Args:
        target: a key of `LIMITS`.
        warps: of one program.
        registers: of 32 bits, for each thread.
        shared: bytes that one program asks for.
        tensor_memory: columns that one program allocates.
    """
    limits = LIMITS[target]
    partition_warps = LANE_REGISTERS // _round_up(max(registers, 1), REGISTER_UNIT)
    # The first of equal bounds names the limit: where all warps are taken, fewer registers would gain nothing.
    bounds = {"warps": limits.warps // warps, "registers": PARTITIONS * partition_warps // warps}
    if shared > limits.program_shared:
        bounds["shared memory"] = 0
    elif taken := _round_up(shared + limits.reserved_shared, limits.shared_unit):
        bounds["shared memory"] = limits.shared // taken
    if tensor_memory:
        bounds["tensor memory"] = TENSOR_MEMORY // tensor_memory
    bounds["programs"] = limits.single_warp_programs if warps == 1 else limits.programs
    limited_by = min(bounds, key=bounds.__getitem__)
    programs = bounds[limited_by]
    return Occupancy(programs, programs * warps, limits.warps, limited_by)


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
