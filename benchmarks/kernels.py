"""`python -m benchmarks kernels`: what can be known of the Triton kernels with no GPU.

Every kernel is compiled ahead of time with every configuration that its launcher would use on a target; the tables are
read from the machine code. Then the least time that each op can take on a device by its data sheet. Nothing is run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .ahead_of_time import Failure, examine
from .errors import UserError
from .kernel_tables import roofline_table, target_table
from .machine_code import TARGETS, MachineCode
from .roofline import DEVICES, DTYPES, Shape, Work, expert_pool_work, gaussian_weights_work, roofline

DEFAULT_SHAPE = "64,1024,1024,8,2"

_READING = """\
reading the tables:
  regs        32-bit registers of one thread (AMD: vector registers, accumulators included); above 255 (AMD: 512) a
              kernel spills
  spills      registers stored to memory for want of room; any is a defect. AMD: vector + scalar ones; scalar ones are
              kept in vector registers and cost little
  shared      shared memory of one program (AMD: LDS)
  occupancy   warps that one multiprocessor holds at a time, of how many it could, and what limits them
  tensor-core instructions   how often each stands in the code. On sm_90 look for HGMMA (wgmma), on sm_100 for UTCHMMA
              (tcgen05), on gfx942 for v_mfma; Triton from 3.3 on has none for sm_75. "serialized": it waits after each
              wgmma, as registers ran out

examples:
  python -m benchmarks kernels --target sm_90
  python -m benchmarks kernels --target sm_90 --only expert_pool.forward --device H100 H200
  python -m benchmarks kernels --shape 32,60,512,7,7 --dtype float32 tf32 --json kernels.json

TRITON_CACHE_DIR says where compiled kernels are kept (by default ~/.triton); what is there is not compiled again.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to `argparse`'s subparsers; `args.run(args)` runs it and returns the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "kernels",
        help="registers, spills, occupancy, tensor-core instructions and roofline of the Triton kernels; needs no GPU",
        description=__doc__,
        epilog=_READING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="NAME", help=f"of {', '.join(TARGETS)}"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="kernels whose name holds this text")
    parser.add_argument(
        "--sample", action="store_true", help="fewer of them: every block, dtype and form, not all with each other"
    )
    parser.add_argument(
        "--device",
        nargs="+",
        type=str.upper,
        choices=DEVICES,
        default=["H100"],
        metavar="NAME",
        help=f"for the roofline, of {', '.join(DEVICES)} (H100)",
    )
    parser.add_argument(
        "--shape",
        type=shape,
        default=shape(DEFAULT_SHAPE),
        metavar="B,T,D,E,K",
        help="for the roofline: clips, frames, channels, experts, experts in use, and if you like the hidden size "
        f"(D/2) and the streams (1) after them ({DEFAULT_SHAPE})",
    )
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        default=["bfloat16"],
        metavar="NAME",
        help=f"of {', '.join(DTYPES)} (bfloat16)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all of it to this file")
    parser.add_argument(
        "--jobs", type=positive, default=_cores(), metavar="N", help=f"processes that compile ({_cores()}: all cores)"
    )
    parser.set_defaults(run=run)


def shape(text: str) -> Shape:
    """Reads "B,T,D,E,K", "B,T,D,E,K,H" or "B,T,D,E,K,H,S".

    Raises:
        argparse.ArgumentTypeError: it is not 5 to 7 positive whole numbers, or K is above E.
    """
    parts = text.split(",")
    if not 5 <= len(parts) <= 7 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape; want B,T,D,E,K, such as {DEFAULT_SHAPE}, H and S behind it if need be"
        )
    B, T, D, E, K, *rest = map(int, parts)
    if K > E:
        raise argparse.ArgumentTypeError(f"{text!r} has {K} experts in use of {E}")
    H = rest[0] if rest else max(D // 2, 1)
    return Shape(B, T, D, E, K, H, *rest[1:])


def positive(text: str) -> int:
    """A whole number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Prints the tables. Returns 0, or 1 where a kernel does not compile.

    Raises:
        UserError: there is no Triton, or no kernel of that name.
    """
    if importlib.util.find_spec("triton") is None:
        raise UserError("kernels needs triton, which is not installed: pip install triton (Linux only)")
    found = examine(args.target, args.only, args.jobs, args.sample)
    if not found:
        raise UserError(f"--only {args.only}: no kernel's name holds that")
    for target in args.target:
        print(target_table(target, [result for result in found if result.target == target]))
    works = [*gaussian_weights_work(args.shape), *(w for d in args.dtype for w in expert_pool_work(args.shape, d))]
    for name in args.device:
        print(roofline_table(args.shape, works, DEVICES[name]))
    failures = [result for result in found if isinstance(result, Failure)]
    if args.json is not None:
        _write(args.json, _record(found, args.shape, works, args.device))
        print(f"wrote {args.json}")
    return 1 if failures else 0


def _record(found: list[MachineCode | Failure], size: Shape, works: list[Work], devices: list[str]) -> dict[str, Any]:
    return {
        "triton": importlib.import_module("triton").__version__,
        "kernels": [asdict(result) for result in found],
        "shape": asdict(size),
        "rooflines": [
            asdict(work) | {"device": name} | asdict(bound)
            for name in devices
            for work in works
            if (bound := roofline(work, DEVICES[name])) is not None
        ],
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
