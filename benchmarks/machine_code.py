"""What the machine code of a Triton kernel holds: compiled ahead of time for a named target, with no GPU.

Triton is imported on first use. Its cache is wherever TRITON_CACHE_DIR says, and a kernel in it is not compiled again.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .occupancy import LIMITS, Occupancy, occupancy

if TYPE_CHECKING:
    from gaussian_moe.kernels.compilation import Compilation

# Backend, architecture and warp size, as Triton names them.
TARGETS: dict[str, tuple[str, int | str, int]] = {
    "sm_75": ("cuda", 75, 32),
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
assert TARGETS.keys() == LIMITS.keys()

# Tensor-core instructions: HMMA and IMMA of Turing and Ampere (D, B, Q and O for other types), HGMMA of Hopper (wgmma
# in PTX), UTCHMMA of Blackwell (tcgen05.mma in PTX); MFMA of AMD.
_NVIDIA_TENSOR_CORES = re.compile(r"\b(?:UTC)?[HIDBQO]G?MMA(?:\.\w+)*")
_AMD_TENSOR_CORES = re.compile(r"\bv_s?mf(?:ma|mac)_\w+")
# The wgmma instructions in their order, and the waits until none is under way.
_WGMMA_OR_WAIT = re.compile(r"\b[HIQB]GMMA\b|\bWARPGROUP\.DEPBAR\.LE gsb0, 0x0\b")
_LOCAL_STORE = re.compile(r"\bSTL(?:\.\w+)*")
_LOCAL_STORE_WORDS = {"64": 2, "128": 4}


@dataclass(frozen=True)
class MachineCode:
    """Facts about one compiled kernel.

    Args:
        name: the compilation's.
        target: a key of `TARGETS`.
        warps: of one program, those that Triton adds for warp specialisation included.
        registers: of 32 bits for each thread; vector registers on AMD, accumulators included.
        spills: registers stored to memory for want of room, counted once for each store in the code; on AMD
            vector registers, as LLVM counts them.
        scalar_spills: the same of AMD's scalar registers, which are kept in lanes of vector registers; 0 on NVIDIA.
        shared: bytes of shared memory (LDS on AMD) for each program.
        tensor_memory: columns of Blackwell's tensor memory for each program.
        tensor_cores: how often each tensor-core instruction stands in the code.
        serialized: the code waits after every single wgmma; ptxas falls back to that where registers run out.
        occupancy: programs and warps that a multiprocessor holds at a time.
    """

    name: str
    target: str
    warps: int
    registers: int
    spills: int
    scalar_spills: int
    shared: int
    tensor_memory: int
    tensor_cores: dict[str, int]
    serialized: bool
    occupancy: Occupancy


def machine_code(compilation: Compilation, target: str) -> MachineCode:
    """Compiles for the target and reads the result.

    Raises:
        ValueError: the target is not one of `TARGETS`.
        RuntimeError: the kernel was made under TRITON_INTERPRET=1.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if target not in TARGETS:
        raise ValueError(f"target is {target!r}, want one of {', '.join(TARGETS)}")
    kernel = compilation.kernel
    if not isinstance(kernel, triton.JITFunction):
        raise RuntimeError(
            f"{compilation.name} was made for Triton's interpreter; unset TRITON_INTERPRET before it is imported"
        )
    names: list[str] = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature=compilation.signature,
        constexprs=compilation.constexprs,
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in compilation.divisible},
    )
    options = {"num_warps": compilation.num_warps, "num_stages": compilation.num_stages}
    compiled = triton.compile(source, target=GPUTarget(*TARGETS[target]), options=options)
    read = _read_amd if "amdgcn" in compiled.asm else _read_nvidia
    facts: dict[str, Any] = read(compiled.asm)
    warps, shared = compiled.metadata.num_warps, compiled.metadata.shared
    tensor_memory = getattr(compiled.metadata, "tmem_size", None) or 0
    return MachineCode(
        name=compilation.name,
        target=target,
        warps=warps,
        shared=shared,
        tensor_memory=tensor_memory,
        occupancy=occupancy(target, warps, facts["registers"], shared, tensor_memory),
        **facts,
    )


def _read_amd(asm: dict[str, Any]) -> dict[str, Any]:
    text: str = asm["amdgcn"]

    def metadata(key: str) -> int:
        found = re.search(rf"^\s*\.{key}:\s*(\d+)", text, re.MULTILINE)
        assert found is not None, f"no .{key} in the assembly"
        return int(found[1])

    return {
        "registers": metadata("vgpr_count"),
        "spills": metadata("vgpr_spill_count"),
        "scalar_spills": metadata("sgpr_spill_count"),
        "tensor_cores": dict(Counter(_AMD_TENSOR_CORES.findall(text))),
        "serialized": False,
    }


def _read_nvidia(asm: dict[str, Any]) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(asm["cubin"])
        cubin.flush()
        usage = re.search(r"\bREG:(\d+) STACK:(\d+)", _cuobjdump("-res-usage", cubin.name))
        assert usage is not None, "cuobjdump tells no registers"
        # Disassembling takes most of the time, and is idle where there are neither spills nor tensor cores to find.
        wanted = int(usage[2]) > 0 or "mma" in asm["ptx"]
        sass = _cuobjdump("-sass", cubin.name) if wanted else ""
    return {
        "registers": int(usage[1]),
        "spills": sum(_words(store) for store in _LOCAL_STORE.findall(sass)),
        "scalar_spills": 0,
        "tensor_cores": dict(Counter(_NVIDIA_TENSOR_CORES.findall(sass))),
        "serialized": _serialized(sass),
    }


def _cuobjdump(option: str, cubin: str) -> str:
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return subprocess.run([tool, option, cubin], check=True, capture_output=True, text=True).stdout


def _words(store: str) -> int:
    return next((words for width, words in _LOCAL_STORE_WORDS.items() if store.endswith(f".{width}")), 1)


def _serialized(sass: str) -> bool:
    steps = ["wait" if "DEPBAR" in step else "wgmma" for step in _WGMMA_OR_WAIT.findall(sass)]
    products = [place for place, step in enumerate(steps) if step == "wgmma"]
    return len(products) > 1 and all(steps[place + 1 : place + 2] == ["wait"] for place in products)
