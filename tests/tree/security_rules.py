"""What code of this project does not do, found in its syntax trees, whatever names it is imported under."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Finding(NamedTuple):
    """A line that breaks a rule."""

    line: int
    rule: str


class _Call(NamedTuple):
    """A call with the whole name of what is called, `.method` where its object is unknown."""

    name: str
    node: ast.Call

    def keyword(self, name: str) -> ast.expr | None:
        """The value of a keyword."""
        return next((keyword.value for keyword in self.node.keywords if keyword.arg == name), None)

    def says(self, name: str, value: object) -> bool:
        """Whether a keyword is this very constant."""
        found = self.keyword(name)
        return isinstance(found, ast.Constant) and (type(found.value), found.value) == (type(value), value)


@dataclass(frozen=True)
class Rule:
    """One thing that is not done.

    Args:
        name: what it is called in the list of exceptions.
        breaks: whether a call breaks it.
        product_only: whether tests and the makers of pages may do it.
    """

    name: str
    breaks: Callable[[_Call], bool]
    product_only: bool = False


def _is(*names: str) -> Callable[[_Call], bool]:
    pattern = re.compile("|".join(names))
    return lambda call: pattern.fullmatch(call.name) is not None


def _without(keyword: str, value: object, *names: str) -> Callable[[_Call], bool]:
    named = _is(*names)
    return lambda call: named(call) and not call.says(keyword, value)


def _resumes(call: _Call) -> bool:
    """A trainer that reads a checkpoint unpickles it, unless it is told otherwise."""
    given = call.keyword("ckpt_path")
    return given is not None and not call.says("ckpt_path", None) and not call.says("weights_only", True)


def _loads_yaml(call: _Call) -> bool:
    if _is(r"yaml\.(unsafe|full)_load(_all)?")(call):
        return True
    loader = call.keyword("Loader") or (call.node.args[1] if len(call.node.args) > 1 else None)
    return _is(r"yaml\.load(_all)?")(call) and not (loader and ast.unparse(loader).endswith("SafeLoader"))


def _extracts(call: _Call) -> bool:
    """`filter="data"` keeps names of an archive inside the folder; zipfile has none."""
    return _is(r"\.extract(all)?", r"shutil\.unpack_archive")(call) and not call.says("filter", "data")


def _weak_hash(call: _Call) -> bool:
    weak = _is(r"hashlib\.(md5|sha1)")(call)
    first = call.node.args[0] if call.node.args else None
    named = call.name == "hashlib.new" and isinstance(first, ast.Constant) and str(first.value) in ("md5", "sha1")
    return (weak or named) and not call.says("usedforsecurity", False)


RULES = (
    Rule("torch.load", _without("weights_only", True, r"torch\.load", r"(.*)\.load_from_checkpoint")),
    Rule("checkpoint", _resumes),
    Rule(
        "unpickling",
        _is(
            r"_?c?[pP]ickle\.(loads?|Unpickler)", r"(cloudpickle|dill|marshal)\..*", r"joblib\.load", r"shelve\.open",
            r"(pandas|pd)\.read_pickle", r"torch\.jit\.load", r"torch\.hub\.load", r"torch\.package\..*",
            r"torch\.serialization\.(add_)?safe_globals", r"torch\.load_library",
        ),
    ),
    # numpy's own default is False; what users run says so.
    Rule("numpy.load", _without("allow_pickle", False, r"numpy\.load", r"numpy\.lib\.format\.read_array"), True),
    Rule(
        "pickled arrays",
        lambda call: call.keyword("allow_pickle") is not None and not call.says("allow_pickle", False),
    ),
    Rule("evaluating", _is("eval", "exec", "compile", "__import__", r"builtins\.(eval|exec|compile)")),
    Rule(
        "shell",
        lambda call: _is(
            r"os\.(system|popen|exec\w+|spawn\w+)", r"subprocess\.get(status)?output", r"pty\.spawn",
            r"asyncio\.(subprocess\.)?create_subprocess_shell",
        )(call)
        or (
            _is(r"subprocess\.\w+")(call) and call.keyword("shell") is not None and not call.says("shell", False)
        ),
    ),
    Rule("yaml.load", _loads_yaml),
    Rule("extracting", _extracts),
    Rule("temporary name", _is(r"tempfile\.mktemp", r"os\.tempnam", r"os\.tmpnam")),
    Rule(
        "remote code",
        lambda call: call.keyword("trust_remote_code") is not None and not call.says("trust_remote_code", False),
    ),
    Rule("weak hash", _weak_hash),
    Rule(
        "unverified connection",
        lambda call: call.says("verify", False) or _is(r"ssl\._create_unverified_context")(call),
    ),
    Rule("download", _is(r"(.*)\.(download_url_to_file|urlopen|urlretrieve|hf_hub_download)", "hf_hub_download"), True),
)  # fmt: skip
_NETWORK = re.compile(
    r"(requests|urllib3|urllib\.request|http\.client|httpx|aiohttp|ftplib|smtplib|telnetlib|xmlrpc|paramiko)(\..*)?"
)
_XML = re.compile(r"xml\.(etree|sax|dom|parsers)(\..*)?|lxml(\..*)?")


def findings(source: str, product: bool = True) -> list[Finding]:
    """Every line that breaks a rule, in order.

    Args:
        source: a module.
        product: whether it is what users run: the library, the example and the benchmarks.
    """
    tree = ast.parse(source)
    names = _imported(tree)
    found: list[Finding] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = _Call(_name(node.func, names), node)
            found += [
                Finding(node.lineno, rule.name)
                for rule in RULES
                if (product or not rule.product_only) and rule.breaks(call)
            ]
        elif product:
            found += [Finding(line, rule) for line, rule in _of_product(node)]
    return sorted(found)


def _of_product(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", None) or ""
        whole = [alias.name if isinstance(node, ast.Import) else f"{module}.{alias.name}" for alias in node.names]
        for rule, pattern in (("network", _NETWORK), ("xml", _XML)):
            if any(pattern.fullmatch(name) for name in (*whole, module)):
                yield node.lineno, rule
    elif isinstance(node, ast.Assert) and not _narrows(node.test):
        yield node.lineno, "assert"
    elif isinstance(node, ast.Constant) and node.value in ("0.0.0.0", "::"):
        yield node.lineno, "all interfaces"


def _narrows(test: ast.expr) -> bool:
    """Whether an assert tells a type checker what is known, such as that something is not None."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.IsNot) and ast.unparse(test.comparators[0]) == "None"
    return isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance"


def _imported(tree: ast.AST) -> dict[str, str]:
    """The whole name behind each name of the module."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
    return names


def _name(function: ast.expr, names: dict[str, str]) -> str:
    """`torch.load` for `load` of torch; `.extractall` for that of some object."""
    parts: list[str] = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        return f".{parts[0]}" if parts else ""
    first = names.get(function.id, function.id)
    # A variable's method is known by the method alone.
    if function.id not in names and parts:
        return f".{parts[0]}"
    return ".".join([first, *reversed(parts)])
