"""All small changes of a source file that might matter: another operator, number, condition, or a statement less."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_NAMES = {
    "max": "min",
    "min": "max",
    "amax": "amin",
    "amin": "amax",
    "argmax": "argmin",
    "any": "all",
    "all": "any",
    "sum": "mean",
    "mean": "sum",
    "ceil": "floor",
    "floor": "ceil",
    "zeros": "ones",
    "ones": "zeros",
    "maximum": "minimum",
    "minimum": "maximum",
    "cdiv": "floordiv",
}


@dataclass(frozen=True)
class Mutant:
    """A file with the bytes from `start` to `end` replaced."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before} -> {self.after}"

    def applied(self, source: bytes) -> bytes:
        """The file's new content."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants(file: str, source: bytes) -> list[Mutant]:
    """Every mutant of a file, in its order. What cannot change a result is left alone: annotations, texts, messages."""
    tree = ast.parse(source)
    offsets = [0]
    for line in source.split(b"\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    finder = _Finder(file, source, offsets)
    found = {mutant for node in _executed(tree) for mutant in finder.of(node)}
    return sorted(found, key=lambda each: (each.start, each.end, each.after))


def is_real(mutant: Mutant, source: bytes) -> bool:
    """Whether a mutant is a program, and another one. It takes a while, so it is asked of those that are chosen."""
    try:
        return ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is below it, without annotations, messages and what only type checkers read."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _executed(child)


def _is_turned_by_its_operator(test: ast.expr) -> bool:
    """Whether another operator already makes the opposite of a condition."""
    if isinstance(test, ast.UnaryOp):
        return isinstance(test.op, ast.Not)
    turned = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    return isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], turned)


@dataclass(frozen=True)
class _Finder:
    file: str
    source: bytes
    offsets: list[int]

    def of(self, node: ast.AST) -> Iterator[Mutant]:
        """The mutants of one node itself."""
        if isinstance(node, ast.BinOp | ast.AugAssign):
            left = node.left if isinstance(node, ast.BinOp) else node.target
            right = node.right if isinstance(node, ast.BinOp) else node.value
            yield from self._operator(node.op, left, right)
        elif isinstance(node, ast.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from self._operator(node.op, left, right)
        elif isinstance(node, ast.Compare):
            for op, left, right in zip(node.ops, [node.left, *node.comparators], node.comparators, strict=False):
                yield from self._operator(op, left, right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
            yield self._replaced(node, self._text(node.operand))
        elif isinstance(node, ast.Constant):
            yield from self._constant(node)
        elif isinstance(node, ast.If | ast.While | ast.IfExp) and not _is_turned_by_its_operator(node.test):
            yield self._replaced(node.test, f"not ({self._text(node.test)})")
        elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            yield self._replaced(node, "pass")
        elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
            yield self._renamed(node, node.attr)
        elif isinstance(node, ast.Name) and node.id in _NAMES:
            yield self._renamed(node, node.id)

    def _constant(self, node: ast.Constant) -> Iterator[Mutant]:
        value = node.value
        if isinstance(value, bool):
            yield self._replaced(node, str(not value))
        elif isinstance(value, int):
            yield self._replaced(node, str(value + 1))
        elif isinstance(value, float):
            yield self._replaced(node, repr(2 * value if value else 1.0))

    def _renamed(self, node: ast.Attribute | ast.Name, name: str) -> Mutant:
        end = self._end(node)
        return self._mutant(node.end_lineno or node.lineno, end - len(name), end, _NAMES[name])

    def _operator(self, op: ast.AST, left: ast.expr, right: ast.expr) -> Iterator[Mutant]:
        before, after = _OPERATORS.get(type(op), ("", ""))
        start, end = self._end(left), self._start(right)
        between = re.search(rf"(?<!\w){re.escape(before)}(?!\w)", self.source[start:end].decode()) if before else None
        if between is not None:
            at = start + len(self.source[start:end].decode()[: between.start()].encode())
            line = self.source[:at].count(b"\n") + 1
            yield self._mutant(line, at, at + len(before), after)

    def _replaced(self, node: ast.expr | ast.stmt, after: str) -> Mutant:
        return self._mutant(node.lineno, self._start(node), self._end(node), after)

    def _mutant(self, line: int, start: int, end: int, after: str) -> Mutant:
        return Mutant(self.file, line, start, end, self.source[start:end].decode(), after)

    def _text(self, node: ast.expr | ast.stmt) -> str:
        return self.source[self._start(node) : self._end(node)].decode()

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self.offsets[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        # What a file was parsed to has both.
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offsets[node.end_lineno - 1] + node.end_col_offset
