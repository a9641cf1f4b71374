"""Expressions and hypotheses of labels, as text."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, NoReturn

import numpy as np
import xarray as xr

from pmlik.errors import ValuesError
from pmlik.labels import space_of

# What an expression may contain beside labels and numbers.
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "logit": lambda p: np.log(p) - np.log1p(-p),
    "expit": lambda x: 1 / (1 + np.exp(-x)),
}
_CONSTANTS = {"pi": np.pi}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_GRAMMAR = (
    "An expression has labels such as beta[age], numbers, + - * / **, brackets and "
    f"{', '.join(_FUNCTIONS)}."
)

#: The way in which a hypothesis compares a quantity with a number.
Relation = Literal["=", "<", ">"]
_RELATION = re.compile(r"<=|>=|==|!=|=|<|>")
_BRACKETED = re.compile(r"[^\W\d]\w*\s*\[[^\]]*\]")
_PLACEHOLDER = "label_{}_"

# An expression nested deeper than this is refused before Python's own limit.
_DEEPEST = 50


@dataclass(frozen=True)
class _Element:
    """One scalar of a variable: its name, and its place along each dim."""

    name: str
    dims: tuple[str, ...]
    place: tuple[int, ...]

    def __call__(self, values: xr.Dataset) -> xr.DataArray:
        array = values[self.name]
        return array.isel(dict(zip(self.dims, self.place, strict=True)), drop=True)


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A hypothesis about one scalar.

    ``text``: as it was written. ``contrast``: what is compared, and ``value``: with which number.
    ``function``: of the contrast, from labelled values. ``relation``: of contrast to value.
    ``label``: set if the contrast is a single label.
    """

    text: str
    contrast: str
    value: float
    function: Callable[[xr.Dataset], Any]
    relation: Relation
    label: str | None = None


def read_hypothesis(text: str, values: xr.Dataset) -> Hypothesis:
    """Return a hypothesis such as ``"a - b = 0"`` or ``"sigma > 1"``.

    ``values``: the variables that there are. Raises `ValuesError` for anything else.
    """
    _check_text(text)
    short, elements = _replace_labels(text, values)
    signs = _RELATION.findall(short)
    if len(signs) != 1 or signs[0] == "!=":
        raise ValuesError(
            f"{text!r}: a hypothesis has one =, < or > with an expression on each side, such as "
            "'beta[age] = 0' or 'sigma > 1'."
        )
    sides = [" ".join(side.split()) for side in _RELATION.split(short)]
    left, right = (_parse(side, text, elements, values) for side in sides)
    if not _names(left) | _names(right):
        raise ValuesError(f"{text!r}: it is about no quantity of the model.")
    relation: Relation = "=" if signs[0][:1] == "=" else signs[0][0]
    label = elements[sides[0]][0] if sides[0] in elements and not _names(right) else None
    known = {key: element for key, (_, element) in elements.items()}
    value = 0.0 if _names(right) else float(_evaluate(right, {}, values))
    compared: ast.expr = ast.BinOp(left, ast.Sub(), right) if _names(right) else left
    written = [re.sub(r"label_\d+_", lambda m: elements[m[0]][0], side) for side in sides]
    contrast = f"{written[0]} - ({written[1]})" if _names(right) else written[0]
    function = partial(_evaluate, compared, known)
    return Hypothesis(" ".join(text.split()), contrast, value, function, relation, label)


# A variable of any shape against one number.
_WHOLE = re.compile(r"\s*([^\W\d]\w*)\s*==?\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")


def read_null(
    null: str | Sequence[str], values: xr.Dataset
) -> tuple[dict[str, float], dict[str, Callable[[xr.Dataset], Any]]]:
    """Return values by name, label or contrast, and the functions of the contrasts.

    ``null``: hypotheses with ``=``; one about a variable is about all its elements.
    Raises `ValuesError` for anything else.
    """
    held: dict[str, float] = {}
    functions: dict[str, Callable[[xr.Dataset], Any]] = {}
    for text in [null] if isinstance(null, str) else null:
        _check_text(text)
        whole = _WHOLE.fullmatch(text)
        if whole is not None and whole[1] in values.data_vars:
            name, value = whole[1], float(whole[2])
        else:
            read = read_hypothesis(text, values)
            if read.relation != "=":
                raise ValuesError(f"null: {text!r} has no =, so it fixes no value.")
            name, value = read.label or read.contrast, read.value
            if read.label is None:
                functions[name] = read.function
        if name in held:
            raise ValuesError(f"null: {name} has a value already.")
        held[name] = value
    return held, functions


def read_expression(text: str, values: xr.Dataset) -> Callable[[xr.Dataset], Any]:
    """Return an expression such as ``"exp(beta[age])"`` as a function of labelled values.

    ``values``: the variables that there are. Raises `ValuesError` for anything else.
    """
    _check_text(text)
    short, elements = _replace_labels(text, values)
    if _RELATION.search(short):
        raise ValuesError(f"{text!r}: this is a hypothesis, need an expression without = < >.")
    tree = _parse(short, text, elements, values)
    return partial(_evaluate, tree, {key: element for key, (_, element) in elements.items()})


def _check_text(text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ValuesError(f"got {text!r}, need text such as 'beta[age] = 0'.")


def _replace_labels(text: str, values: xr.Dataset) -> tuple[str, dict[str, tuple[str, _Element]]]:
    """Return the text with identifiers in place of labels, and what these stand for."""
    known: dict[str, _Element] = {}
    for name, array in values.data_vars.items():
        labels = space_of(values[[name]]).labels
        places = list(np.ndindex(array.shape))
        dims = tuple(map(str, array.dims))
        known |= {
            label: _Element(str(name), dims, place)
            for label, place in zip(labels, places, strict=True)
        }
    elements: dict[str, tuple[str, _Element]] = {}

    def replaced(match: re.Match[str]) -> str:
        label = spelt[_squeeze(match[0])]
        key = _PLACEHOLDER.format(len(elements))
        elements[key] = (label, known[label])
        return key

    spelt = {_squeeze(label): label for label in known}
    # Labels with brackets, and names that are no identifiers; others are read as they are.
    odd = [label for label in known if not label.isidentifier()]
    if odd:
        longest = sorted(odd, key=len, reverse=True)
        pattern = "|".join(map(_loose, longest))
        text = re.sub(rf"(?<![\w.])(?:{pattern})(?!\w)", replaced, text)
    unknown = _BRACKETED.search(text)
    if unknown is not None:
        _refuse_unknown(_squeeze(unknown[0]), text, values)
    for label in sorted(known, key=len, reverse=True):
        if label.isidentifier():
            text = re.sub(rf"(?<![\w.]){re.escape(label)}(?!\w)", replaced, text)
    return text, elements


def _squeeze(label: str) -> str:
    return re.sub(r"\s*([\[\],])\s*", r"\1", " ".join(label.split()))


def _loose(label: str) -> str:
    """Return a pattern of a label with any spaces around its brackets and commas."""
    parts = re.split(r"([\[\],])", _squeeze(label))
    return "".join(rf"\s*{re.escape(p)}\s*" if p in "[]," and p else re.escape(p) for p in parts)


def _parse(side: str, text: str, elements: Mapping[str, Any], values: xr.Dataset) -> ast.expr:
    """Return one side as a tree of nothing but what is allowed."""
    try:
        tree = ast.parse(side.strip().replace("^", "**"), mode="eval").body
        _check(tree, text, elements, values, 0)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, ValuesError):
            raise
        raise ValuesError(f"{text!r}: it can't be read as an expression. {_GRAMMAR}") from None
    return tree


def _check(
    node: ast.AST, text: str, elements: Mapping[str, Any], values: xr.Dataset, depth: int
) -> None:
    if depth > _DEEPEST:
        raise ValuesError(f"{text!r}: it is nested too deeply.")
    inside: list[ast.expr] = []
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        inside = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        inside = [node.operand]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in _FUNCTIONS or len(node.args) != 1 or node.keywords:
            raise ValuesError(f"{text!r}: {node.func.id}() is not known here. {_GRAMMAR}")
        inside = node.args
    elif isinstance(node, ast.Name):
        if node.id not in elements and node.id not in _CONSTANTS:
            _refuse_unknown(node.id, text, values)
    elif not _is_number(node):
        raise ValuesError(f"{text!r}: it can't be read as an expression. {_GRAMMAR}")
    for child in inside:
        _check(child, text, elements, values, depth + 1)


def _is_number(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    )


def _refuse_unknown(name: str, text: str, values: xr.Dataset) -> NoReturn:
    """Raise with the names that are near, or say that a variable is no scalar."""
    if name in values.data_vars:
        labels = space_of(values[[name]]).labels
        raise ValuesError(
            f"{text!r}: {name} is not a scalar, need one of its {len(labels)} elements such as "
            f"{labels[0]}."
        )
    known = [*space_of(values).labels, *map(str, values.data_vars)]
    near = get_close_matches(name, known, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ValuesError(
        f"{text!r}: there is no {name} among {', '.join(map(str, values.data_vars))}.{hint}"
    )


def _names(tree: ast.expr) -> set[str]:
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}
    return names - set(_CONSTANTS)


def _evaluate(tree: ast.expr, elements: Mapping[str, _Element], values: xr.Dataset) -> Any:
    """Return the value of a tree that `_check` has passed."""
    if isinstance(tree, ast.BinOp):
        sides = (_evaluate(side, elements, values) for side in (tree.left, tree.right))
        return _BINARY[type(tree.op)](*sides)
    if isinstance(tree, ast.UnaryOp):
        return _UNARY[type(tree.op)](_evaluate(tree.operand, elements, values))
    if isinstance(tree, ast.Call):
        assert isinstance(tree.func, ast.Name)
        return _FUNCTIONS[tree.func.id](_evaluate(tree.args[0], elements, values))
    if isinstance(tree, ast.Name):
        known = elements.get(tree.id)
        return _CONSTANTS[tree.id] if known is None else known(values)
    assert isinstance(tree, ast.Constant)
    return float(tree.value)  # type: ignore[arg-type]
