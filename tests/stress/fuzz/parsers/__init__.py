"""The parsers that are fuzzed, by name; a module is imported when one of its parsers is asked for."""

from __future__ import annotations

import importlib

from tests.stress.fuzz.parser import Parser

_MODULES: dict[str, tuple[str, ...]] = {
    "annotations": ("annotations", "answer-index"),
    "answers": ("answers-csv", "answers-json"),
    "results": ("predictions", "tables", "metrics", "benchmark-record"),
    "features": ("feature-arrays", "feature-index"),
    "stores": ("store", "pack-journal"),
    "configs": ("config", "command-line", "run-settings", "concert-settings"),
    "checkpoints": ("checkpoint", "checkpoint-pickle", "released-weights"),
    "weights": ("encoder-weights", "encoded-questions", "hub-folder"),
}
_OURS = ("examples.avqa",)
INSTRUMENTED: dict[str, tuple[str, ...]] = {
    name: _OURS
    + {
        "benchmark-record": ("benchmarks.record",),
        "feature-arrays": ("numpy.lib",),
        "config": ("yaml",),
        "checkpoint": ("torch._weights_only_unpickler",),
        "checkpoint-pickle": ("torch._weights_only_unpickler",),
        "released-weights": ("torch._weights_only_unpickler",),
        "encoder-weights": ("torch._weights_only_unpickler", "safetensors"),
        "encoded-questions": ("safetensors",),
        "hub-folder": ("gaussian_moe.hub", "safetensors"),
    }.get(name, ())
    for names in _MODULES.values()
    for name in names
}
"""Modules whose branches guide the fuzzer, by parser."""


def load(name: str) -> Parser:
    """A parser by its name."""
    module = next(module for module, names in _MODULES.items() if name in names)
    found: dict[str, Parser] = {
        parser.name: parser for parser in importlib.import_module(f"{__name__}.{module}").PARSERS
    }
    return found[name]
