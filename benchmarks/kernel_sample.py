"""A part of the kernels' compilations that leaves out no line, by their names: `kernel[product,form,block]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_PRODUCTS = ("bf16", "fp16", "tf32", "ieee")


class _Name(NamedTuple):
    kernel: str
    product: str
    form: str
    """The pointers that are given, such as "gaussian,bits"."""
    block: int


def sample(names: Iterable[str]) -> set[str]:
    """Each kernel with each dtype and block in its fullest form, and in each form with one dtype and its largest block.

    Registers are spilled by what a kernel holds at once, which its dtype, its block and its fullest form make largest;
    a form's own lines are in every dtype and block the same. Between a third and a half of all are left.
    """
    parsed = {name: _parsed(name) for name in names}
    fullest = dict[tuple[object, ...], str]()
    largest = dict[tuple[object, ...], str]()
    for name, each in parsed.items():
        by_size = (each.kernel, "bits" in each.form, each.product, each.block)
        if by_size not in fullest or len(each.form) > len(parsed[fullest[by_size]].form):
            fullest[by_size] = name
        by_form = (each.kernel, each.form)
        if by_form not in largest or _weight(each) > _weight(parsed[largest[by_form]]):
            largest[by_form] = name
    return {*fullest.values(), *largest.values()}


def _weight(name: _Name) -> tuple[int, int]:
    """Half precision before single, then the block."""
    return -_PRODUCTS.index(name.product) if name.product in _PRODUCTS else 0, name.block


def _parsed(name: str) -> _Name:
    kernel, _, inside = name.partition("[")
    parts = inside.removesuffix("]").split(",") if inside else []
    block = int(parts.pop()) if parts and re.fullmatch(r"\d+", parts[-1]) else 0
    product = parts.pop(0) if parts and parts[0] in _PRODUCTS else ""
    return _Name(kernel, product, ",".join(parts), block)
