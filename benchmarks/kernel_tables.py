"""Tables of `python -m benchmarks kernels`: machine code by target, roofline by device."""

from __future__ import annotations

from dataclasses import asdict

from .ahead_of_time import Failure
from .machine_code import MachineCode
from .occupancy import LIMITS
from .roofline import DEVICES, Device, Shape, Work, roofline


def target_table(target: str, results: list[MachineCode | Failure]) -> str:
    """The kernels of one target, a line each."""
    devices = ", ".join(name for name, device in DEVICES.items() if device.target == target)
    rows: list[tuple[str, ...]] = [
        ("kernel", "warps", "regs", "spills", "shared", "occupancy", "tensor-core instructions")
    ]
    for result in results:
        if isinstance(result, Failure):
            rows.append((result.name, "", "", "", "", "", f"does not compile: {result.reason}"))
        else:
            rows.append(_target_row(result))
    return f"{target} ({devices}), {LIMITS[target].warps} warps a multiprocessor\n{_table(rows, '<>>>><<')}\n"


def _target_row(code: MachineCode) -> tuple[str, ...]:
    spills = str(code.spills) if code.target.startswith("sm_") else f"{code.spills} + {code.scalar_spills}"
    held = code.occupancy
    resident = (
        f"{held.warps}/{held.max_warps} ({held.limited_by})" if held.programs else f"none fits ({held.limited_by})"
    )
    instructions = ", ".join(f"{count} {name}" for name, count in sorted(code.tensor_cores.items())) or "none"
    if code.serialized:
        instructions += " (serialized)"
    return (
        code.name,
        str(code.warps),
        str(code.registers),
        spills,
        f"{code.shared / 1024:.1f} KiB",
        resident,
        instructions,
    )


def roofline_table(size: Shape, works: list[Work], device: Device) -> str:
    """FLOPs, bytes and least time of each op on one device."""
    rows: list[tuple[str, ...]] = [("op", "dtype", "GFLOP", "MB", "at least", "bound by")]
    for work in works:
        bound = roofline(work, device)
        flops, moved = work.matrix_flops + work.vector_flops, work.bytes
        rows.append(
            (
                work.op,
                work.dtype,
                f"{flops / 1e9:.4g}",
                f"{moved / 1e6:.4g}",
                "-" if bound is None else f"{bound.seconds * 1e6:.1f} us",
                f"no {work.dtype} on it" if bound is None else bound.bound,
            )
        )
    sizes = ", ".join(f"{letter} = {number}" for letter, number in asdict(size).items())
    peaks = ", ".join(f"{rate:g} {dtype}" for dtype, rate in device.matrix.items())
    return (
        f"Roofline of {device.name} at {sizes}, every frame in reach\n"
        f"  peak TFLOP/s {peaks}; {device.bandwidth / 1000:g} TB/s\n{_table(rows, '<<>>><')}\n"
    )


def _table(rows: list[tuple[str, ...]], alignment: str) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (
        [f"{cell:{side}{width}}" for cell, side, width in zip(row, alignment, widths, strict=True)] for row in rows
    )
    return "\n".join(("  " + "  ".join(row)).rstrip() for row in cells)
