"""One ahead-of-time compilation of a Triton kernel: all that the compiler needs to know, with no GPU and no tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Compilation:
    """A kernel with the argument types and the configuration that a launcher gives it.

    Args:
        name: what is compiled, such as `expert_pool.forward[bf16,gaussian,bits]`; unique in its launcher.
        kernel: the `triton.jit` function.
        signature: Triton's type of each argument, such as `*bf16` or `i32`, or `constexpr`; an argument that the
            launcher passes as None is a `constexpr` that `constexprs` sets to None.
        constexprs: the values of the `constexpr` arguments.
        num_warps: warps of a program (wavefronts on AMD).
        num_stages: depth of the software pipeline.
        divisible: pointers and integers that are divisible by 16 in common use. The launcher specialises on
            that, and without it the compiler emits narrow loads.
    """

    name: str
    kernel: Any
    signature: dict[str, str]
    constexprs: dict[str, Any]
    num_warps: int
    num_stages: int
    divisible: tuple[str, ...] = ()
