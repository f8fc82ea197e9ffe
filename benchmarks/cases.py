"""What is compared, and at which sizes: the suites.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from .errors import UserError

DTYPES = ("float32", "tf32", "bfloat16", "float16")
"""tf32 is float32 with PyTorch's matrix products allowed to use it."""

EAGER = ("layer", "factored", "published")
COMPILED = ("layer_compiled", "factored_compiled", "published_compiled")
GRAPHS = ("layer_graph", "factored_graph", "published_graph", "factored_compiled_graph")
"""Whole passes replayed as CUDA graphs."""

PASSES = ("forward", "backward", "both")


@dataclass(frozen=True, order=True)
class Case:
    """Sizes of one comparison."""

    B: int
    T: int
    D: int
    E: int
    K: int
    dtype: str = "float32"
    stds: float | None = None
    """Where given, every Gaussian's std, a fraction of the clip; by default the router gives them."""

    def __str__(self) -> str:
        sizes = f"B={self.B} T={self.T} D={self.D} E={self.E} K={self.K} {self.dtype}"
        return sizes if self.stds is None else f"{sizes} stds={self.stds}"


@dataclass(frozen=True)
class Experiment:
    """One case of a suite: which implementations meet, and what is measured of them."""

    suite: str
    case: Case
    implementations: tuple[str, ...]
    passes: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    """Of which the peak memory of forward and backward is measured."""
    flops: bool = False

    def needs_gradients(self, implementation: str) -> bool:
        """Whether anything of it beyond the forward pass is measured."""
        return implementation in self.memory or any(name != "forward" for name in self.passes)

    @property
    def differentiable(self) -> bool:
        """Whether every leaf has a gradient: a given routing leaves the router out, the kernel alone has none."""
        return self.suite != "pool" and self.case.stds is None


PUBLISHED = (Case(32, 60, 512, 7, 7), Case(32, 60, 512, 10, 3), Case(8, 512, 512, 8, 2))
"""The paper's sizes, more experts than are used, long clips."""

CENTER = PUBLISHED[0]
AXES: dict[str, tuple[Case, ...]] = {
    "T": tuple(replace(CENTER, T=size) for size in (15, 60, 240, 960)),
    "B": tuple(replace(CENTER, B=size) for size in (1, 8, 32, 64)),
    "E": tuple(replace(CENTER, E=size) for size in (7, 10, 16, 32)),
    "K": tuple(replace(CENTER, K=size) for size in (1, 2, 4, 7)),
    "D": tuple(replace(CENTER, D=size) for size in (128, 256, 512, 1024)),
}


def varied(cases: Sequence[Case], letter: str) -> list[Case]:
    """Of the recorded cases of the suite `axes` those in which one size, or "dtype", varies around the center."""
    if letter == "dtype":
        found = [case for case in cases if replace(case, dtype=CENTER.dtype) == CENTER]
        return found if len(found) > 1 else []
    return [case for each in AXES[letter] if (case := replace(each, dtype=cases[0].dtype)) in cases]


LONG = Case(1, 2048, 512, 8, 2)
GROWTH_T = tuple(replace(LONG, T=size) for size in (1024, 2048, 4096, 8192, 16384))
# Several clips: how many frames one clip's few Gaussians reach depends on which experts it drew.
GROWTH_E = tuple(replace(LONG, B=8, E=size) for size in (8, 16, 32, 64))
GROWTH_K = tuple(replace(LONG, K=size) for size in (1, 2, 4, 8))
SKIPPING = Case(8, 4096, 512, 8, 2, stds=0.03)
POOL = Case(64, 1024, 1024, 8, 2, dtype="bfloat16")

GRID = tuple(
    Case(B, T, D, E, K)
    for D, (K, E), T, B in product((256, 512), ((1, 1), (7, 7), (3, 10), (2, 16)), (1, 60, 512, 4096), (1, 8, 32))
)


def _published(device: str) -> list[Experiment]:
    cases = list(PUBLISHED)
    if device == "cuda":
        cases = [*(replace(case, dtype="bfloat16") for case in PUBLISHED), replace(CENTER, dtype="tf32")]
    compared = _all(device)
    return [Experiment("published", case, compared, PASSES, EAGER + COMPILED, flops=True) for case in cases]


def _pool(device: str) -> list[Experiment]:
    compared = ("expert_pool", "expert_pool_skipping", "matrix_product")
    return [Experiment("pool", POOL, compared, ("forward",))]


def _growth(device: str) -> list[Experiment]:
    # Compiled backward passes only on a CPU: on a lent GPU the time of compiling them is short.
    memory = EAGER if device == "cuda" else EAGER + COMPILED
    timed = sorted({*GROWTH_T, *GROWTH_E})
    skipping = ("layer", "layer_without_skipping", "factored")
    return [
        Experiment("growth", SKIPPING, skipping, ("forward",)),
        *(Experiment("growth", case, EAGER + COMPILED, ("forward",), memory) for case in timed),
        *(Experiment("growth", case, memory, memory=memory) for case in GROWTH_K if case not in timed),
    ]


def _axes(device: str) -> list[Experiment]:
    cases = list(dict.fromkeys(case for axis in AXES.values() for case in axis))
    if device == "cuda":
        dtypes = [replace(CENTER, dtype=dtype) for dtype in ("float32", "tf32", "float16")]
        cases = [*(replace(case, dtype="bfloat16") for case in cases), *dtypes]
    return [Experiment("axes", case, _all(device), ("forward", "both")) for case in cases]


def _grid(device: str) -> list[Experiment]:
    compared = ("layer", "layer_compiled", "factored_compiled")
    return [Experiment("grid", case, compared, ("forward", "both")) for case in GRID]


def _all(device: str) -> tuple[str, ...]:
    return EAGER + COMPILED + (GRAPHS if device == "cuda" else ())


SUITES = {"published": _published, "pool": _pool, "growth": _growth, "axes": _axes, "grid": _grid}
SUMMARIES = {
    "published": "every implementation at three sizes: the paper's, more experts than are used, long clips",
    "pool": "the expert_pool kernel against a plain matrix product of the same FLOPs, in bfloat16",
    "growth": "forward time and memory as clips get longer and experts more; frames out of reach skipped or not",
    "axes": "one of T, B, E, K, D varied around the paper's sizes (on a GPU the dtype too)",
    "grid": "96 sizes of the layer against the factored computation under torch.compile",
}


def default_suites(device: str) -> tuple[str, ...]:
    """What `run` measures unless told: on a GPU, which is often lent by the minute, less than on a CPU."""
    return ("pool", "published", "growth") if device == "cuda" else ("published", "growth", "axes", "grid")


def experiments(suites: Sequence[str], device: str) -> list[Experiment]:
    """The experiments of these suites, in their order.

    Raises:
        UserError: an unknown suite, or one that this device has not.
    """
    if unknown := [name for name in suites if name not in SUITES]:
        raise UserError(f"there is no suite {unknown[0]!r}; suites: {', '.join(SUITES)}")
    if "pool" in suites and device != "cuda":
        raise UserError("the suite pool needs a CUDA device: it times a kernel that runs nowhere else")
    return [experiment for name in suites for experiment in SUITES[name](device)]


def of_size(experiments: Sequence[Experiment], sizes: Sequence[str]) -> list[Experiment]:
    """The experiments whose case has the sizes that are asked for, such as "T=1,60" and "B=8".

    Raises:
        UserError: no such letter, no numbers, or no case has them.
    """
    wanted: dict[str, set[int]] = {}
    for text in sizes:
        letter, _, numbers = text.partition("=")
        if letter not in ("B", "T", "D", "E", "K") or not all(number.isdecimal() for number in numbers.split(",")):
            raise UserError(f"--size takes a letter of B, T, D, E, K and numbers, such as T=1,60; got {text!r}")
        wanted.setdefault(letter, set()).update(map(int, numbers.split(",")))
    found = [each for each in experiments if all(getattr(each.case, letter) in wanted[letter] for letter in wanted)]
    if experiments and not found:
        raise UserError(f"no case of these suites has the sizes {' '.join(sizes)}; `run --list` prints the cases")
    return found
