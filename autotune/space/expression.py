"""Small arithmetic over settings: conditions, rules and derived values, as people write them in a space file.

    nginx:sendfile == on
    nginx:listen.backlog <= sysctl:net.core.somaxconn
    nginx:worker_connections * nginx:worker_processes >= 1.2 * workload.connections
    sysctl:net.ipv4.tcp_rmem[2] <= 0.05 * board.memory_bytes

Names are setting ids, `board.*` and `workload.*` facts; other bare words (on, off, unset, bbr) and whatever stands in
quotes ("defer+madvise") are texts. Sizes may carry a unit (64k). Operators: + - * / //, comparisons, and, or, not, min(), max(). Parsed by Python's own grammar
from a closed list of node types; nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from autotune.space.record import Record
from autotune.space.value import Value, parse_size

_TOKEN = re.compile(
    r"(?P<quoted>\"[^\"'\\]*\"|'[^\"'\\]*')"
    r"|(?P<id>[a-z][a-z0-9]*:[A-Za-z0-9_]+(?:[.\-/][A-Za-z0-9_]+)*)"
    r"|(?P<fact>(?:board|workload)\.[a-z_]+)"
    r"|(?P<size>\b\d+[kKmMgG]\b)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
)
_DEEPEST = 40
_KEYWORDS = frozenset({"and", "or", "not", "min", "max"})
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}


class Unanswerable(Exception):
    """The expression needs a number that this board or configuration doesn't have (an absent or "unset" value)."""


class Expression(Record):
    """One parsed expression. `Expression(text=...)` raises ValueError with a sentence when it can't be read."""

    text: str

    def model_post_init(self, _context: Any) -> None:
        if len(self.text) > 500:
            raise ValueError("an expression may have at most 500 characters")
        self._check(self._tree)

    @cached_property
    def _names(self) -> dict[str, str]:
        return {}

    @cached_property
    def _tree(self) -> ast.expr:
        names = self._names
        if "__" in self.text or "`" in self.text:
            raise ValueError(f"{self.text!r} can't be read")

        def stand_in(match: re.Match[str]) -> str:
            text = match[0]
            if match.lastgroup == "size":
                return str(parse_size(text))
            if match.lastgroup == "word" and text in _KEYWORDS:
                return text
            if match.lastgroup in ("word", "quoted"):
                # In brackets, so that two texts side by side are a mistake and not one long text.
                return f"({text.strip(chr(34) + chr(39))!r})"
            name = f"name_{len(names)}"
            names[name] = text
            return name

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # what Python only frowns at (1or 2) is refused, not printed
                return ast.parse(_TOKEN.sub(stand_in, self.text), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ValueError(f"{self.text!r} can't be read as an expression") from None

    def _check(self, node: ast.AST, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"{self.text!r} is nested too deep")
        match node:
            case ast.Constant(value=bool() | int() | float() | str()):
                return
            case ast.Name(id=name) if name in self._names:
                return
            case ast.BinOp(op=op) if type(op) in _BINARY:
                pass
            case ast.UnaryOp(op=ast.Not() | ast.USub()) | ast.BoolOp():
                pass
            case ast.Compare(ops=ops) if all(type(op) in _COMPARE for op in ops):
                pass
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
                if len(node.args) < 2:
                    raise ValueError(f"{self.text!r}: {name}() takes two numbers or more")
                for argument in node.args:
                    self._check(argument, depth + 1)
                return
            case ast.Subscript(slice=ast.Constant(value=int())):
                self._check(node.value, depth + 1)
                return
            case _:
                raise ValueError(f"{self.text!r} uses something an expression can't hold")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._check(child, depth + 1)

    @property
    def ids(self) -> tuple[str, ...]:
        """The setting ids it speaks of, in order of appearance."""
        _ = self._tree
        return tuple(dict.fromkeys(name for name in self._names.values() if ":" in name))

    @property
    def facts(self) -> tuple[str, ...]:
        """The board and workload facts it speaks of."""
        _ = self._tree
        return tuple(dict.fromkeys(name for name in self._names.values() if ":" not in name))

    @property
    def is_comparison(self) -> bool:
        return isinstance(self._tree, ast.Compare)

    @property
    def is_condition(self) -> bool:
        """Whether it answers yes or no: a comparison, or comparisons joined by and, or, not."""
        waiting: list[ast.expr] = [self._tree]
        while waiting:
            match waiting.pop():
                case ast.Compare():
                    pass
                case ast.BoolOp(values=parts):
                    waiting += parts
                case ast.UnaryOp(op=ast.Not(), operand=part):
                    waiting.append(part)
                case _:
                    return False
        return True

    @property
    def words(self) -> tuple[str, ...]:
        """The bare words it compares with (on, off, unset, bbr)."""
        constants = (node.value for node in ast.walk(self._tree) if isinstance(node, ast.Constant))
        return tuple(dict.fromkeys(value for value in constants if isinstance(value, str)))

    def fault(self, values: Mapping[str, Value]) -> str:
        """Why it could never be answered, tried on these typical values part by part; empty when it can be."""
        waiting: list[ast.expr] = [self._tree]
        while waiting:
            node = waiting.pop()
            try:
                result = self._evaluate(node, values)
                if isinstance(result, (int, float)):
                    float(result)
            except Unanswerable as problem:
                return str(problem)
            except (TypeError, ValueError, OverflowError):
                return f"{self.text}: it compares or computes with things that don't fit together"
            match node:
                case ast.Call(args=args):
                    waiting += args
                case ast.Compare(left=left, ops=[_, _, *_] as ops, comparators=comparators):
                    sides = [left, *comparators]
                    waiting += [
                        ast.Compare(left=a, ops=[op], comparators=[b])
                        for a, op, b in zip(sides, ops, comparators, strict=False)
                    ]
                case (
                    ast.Compare(left=ast.Name() as one, comparators=[ast.Name() as other])
                    | ast.Compare(
                        left=ast.Name() as one, comparators=[ast.Constant(value=int() | float()) as other]
                    )
                ) if isinstance(self._evaluate(one, values), str) != isinstance(
                    self._evaluate(other, values), str
                ):
                    return f"{self.text}: a word and a number are never equal"
                case _:
                    waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return ""

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether it is true for these values (ids and facts together). Raises Unanswerable."""
        return self._truth(self._evaluate(self._tree, values))

    def number(self, values: Mapping[str, Value]) -> float:
        """Its numeric value. Raises Unanswerable."""
        result = self._arithmetic(self._evaluate(self._tree, values))
        try:
            number = float(result)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Unanswerable(f"{self.text}: too large a number")
        return number

    def excess(self, values: Mapping[str, Value]) -> float:
        """For a sampler: at most 0 when it holds, else how far the first broken comparison is off, relative."""
        tree = self._tree
        if self.holds(values):
            return 0.0
        if (
            isinstance(tree, ast.Compare)
            and len(tree.ops) == 1
            and not isinstance(tree.ops[0], (ast.Eq, ast.NotEq))
        ):
            left = self._evaluate(tree.left, values)
            right = self._evaluate(tree.comparators[0], values)
            relative: float = abs(left - right) / max(abs(left), abs(right), 1.0)
            return max(1e-9, relative)
        return 1.0

    def _evaluate(self, node: ast.expr, values: Mapping[str, Value]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                id_ = self._names[name]
                if id_ not in values:
                    raise Unanswerable(f"{self.text}: {id_} is not known here")
                found = values[id_]
                return ("on" if found else "off") if isinstance(found, bool) else found
            case ast.Subscript(value=inner, slice=ast.Constant(value=int() as index)):
                found = self._evaluate(inner, values)
                if not isinstance(found, tuple) or not 0 <= index < len(found):
                    raise Unanswerable(f"{self.text}: no element {index}")
                return found[index]
            case ast.UnaryOp(op=ast.Not()):
                return not self._truth(self._evaluate(node.operand, values))
            case ast.UnaryOp():
                return -self._arithmetic(self._evaluate(node.operand, values))
            case ast.BoolOp(op=ast.And()):
                return all(self._truth(self._evaluate(item, values)) for item in node.values)
            case ast.BoolOp():
                return any(self._truth(self._evaluate(item, values)) for item in node.values)
            case ast.BinOp():
                left = self._arithmetic(self._evaluate(node.left, values))
                right = self._arithmetic(self._evaluate(node.right, values))
                try:
                    return _BINARY[type(node.op)](left, right)
                except ZeroDivisionError:
                    raise Unanswerable(f"{self.text}: division by zero") from None
                except OverflowError:
                    raise Unanswerable(f"{self.text}: too large a number") from None
            case ast.Call(func=ast.Name(id=name)):
                return _FUNCTIONS[name](
                    *(self._arithmetic(self._evaluate(item, values)) for item in node.args)
                )
            case ast.Compare():
                left = self._evaluate(node.left, values)
                for op, item in zip(node.ops, node.comparators, strict=True):
                    right = self._evaluate(item, values)
                    ordered = not isinstance(op, (ast.Eq, ast.NotEq))
                    if ordered and (isinstance(left, (str, tuple)) or isinstance(right, (str, tuple))):
                        raise Unanswerable(f"{self.text}: {left!r} and {right!r} have no order")
                    if not _COMPARE[type(op)](left, right):
                        return False
                    left = right
                return True
            case _:
                raise Unanswerable(self.text)

    def _truth(self, value: Any) -> bool:
        if isinstance(value, str):
            if value not in ("on", "off"):
                raise Unanswerable(f"{self.text}: {value!r} is neither on nor off")
            return value == "on"
        return bool(self._arithmetic(value))

    def _arithmetic(self, value: Any) -> Any:
        if isinstance(value, (str, tuple)):
            raise Unanswerable(f"{self.text}: {value!r} is not a number")
        return value
