"""Where and how a module of ours can be made wrong: its syntax tree, one change at a time.

Left as they are, because nothing is decided there: docstrings, annotations, type variables, decorators, `__all__` and
`__slots__`, log lines, the words with which something is explained (of a `raise` only its refusal code is changed, of
other texts only those without a space), and `strict=` of `zip`.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from dcu.command import Refusal

_COMPARE = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitOr,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_CODE = re.compile(r"[!-~]{0,60}")  # a text without a space: a code, not an explanation
_CELLS = re.compile(r"[-ABD]( +[-ABD])+")  # a row of the check table
_CELL = {"B": "AD", "A": "-", "D": "-"}
_UNREAD = {"annotation", "returns", "decorator_list", "bases", "keywords_of_class", "type_comment", "ctx"}
_NAMES_OF_PYTHON = {"__all__", "__slots__"}

Slot = tuple[Any, Any]  # a list and an index, or a node and the name of its field


@dataclass(frozen=True)
class Site:
    """One change of one module.

    Attributes:
        file: the module, from the root of the repository.
        where: the function or class it stands in; empty: the module itself.
        line: the source line, stripped.
        change: what becomes of what, as source.
        number: counts those that are alike in all of this.
        lines: numbers of the lines of its statement's head.
        names: that a statement outside all functions binds; a change is noticed where they are used.
        apply: makes the change in the tree it was found in.
    """

    file: str
    where: str
    line: str
    change: str
    number: int = 0
    lines: range = field(default=range(0), compare=False)
    names: frozenset[str] = field(default=frozenset(), compare=False)
    apply: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """By what it is known from one run to the next."""
        return self.file, self.where, self.line, self.change, self.number

    def __str__(self) -> str:
        again = f" ({self.number + 1})" if self.number else ""
        return f"{self.file}:{self.lines.start} {self.where or 'module'}: {self.change}{again}"


def sites(file: str, source: str, tree: ast.Module) -> list[Site]:
    """Every change of a module, in the order of its text."""
    seen: Counter[Site] = Counter()
    found = []
    for site in _Reader(file, source).statements(tree.body, "", frozenset()):
        found.append(replace(site, number=seen[site]))
        seen[site] += 1
    return found


def apply(site: Site, tree: ast.Module) -> None:
    """Make the change; the tree can be compiled."""
    site.apply()
    ast.fix_missing_locations(tree)


@dataclass
class _Reader:
    file: str
    source: str

    def __post_init__(self) -> None:
        self._text = self.source.splitlines()
        self._where, self._lines, self._names, self._in_function = "", range(0), frozenset(), False

    # ---- statements -------------------------------------------------------------------------------------------------

    def statements(self, body: list[ast.stmt], where: str, names: frozenset[str]) -> Iterator[Site]:
        for index, node in enumerate(body):
            if not _is_words(node):
                yield from self._statement(node, (body, index), where, names)

    def _statement(self, node: ast.stmt, slot: Slot, where: str, names: frozenset[str]) -> Iterator[Site]:
        inner = f"{where}.{node.name}".lstrip(".") if hasattr(node, "name") else where
        outside = not self._in_function
        bound = (names | _bound(node)) if outside else frozenset()
        self._where, self._lines, self._names = inner, _head(node), bound
        yield from self._whole(node, slot)
        if isinstance(node, ast.Raise):
            yield from self._refusals(node)
            return
        if not (outside and _is_type_alias(node)):
            yield from self._children(node)
        self._in_function = self._in_function or isinstance(node, ast.FunctionDef)
        for block in _blocks(node):
            yield from self.statements(block, inner, bound)
        if outside:
            self._in_function = False

    def _whole(self, node: ast.stmt, slot: Slot) -> Iterator[Site]:
        """The statement left out, or turned into another."""
        match node:
            case ast.Raise() | ast.Delete() | ast.Expr(value=ast.Call()):
                yield self._site(node, slot, ast.Pass(), "nothing")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign():
                yield self._site(node, slot, ast.Pass(), "nothing")
            case ast.AnnAssign(target=ast.Attribute(), value=ast.expr()):
                yield self._site(node, slot, ast.Pass(), "nothing")
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield self._site(node, slot, ast.Return(ast.Constant(None)))
            case ast.Continue():
                yield self._site(node, slot, ast.Break())
            case ast.Break():
                yield self._site(node, slot, ast.Continue())
        if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
            other = ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
            yield self._site(node, slot, other)

    def _refusals(self, node: ast.Raise) -> Iterator[Site]:
        for parent in ast.walk(node):
            for slot in _slots(parent):
                if _is_refusal(_get(slot)):
                    yield self._other_refusal(slot)

    # ---- expressions ------------------------------------------------------------------------------------------------

    def _children(self, node: ast.AST) -> Iterator[Site]:
        for slot in _slots(node):
            each = _get(slot)
            if isinstance(each, ast.expr):
                yield from self._expression(each, slot)
            elif isinstance(each, ast.keyword):
                if each.arg != "strict":
                    yield from self._children(each)
            elif not isinstance(each, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield from self._children(each)

    def _expression(self, node: ast.expr, slot: Slot) -> Iterator[Site]:
        if _is_refusal(node):
            yield self._other_refusal(slot)
            return
        if _is_told(node):
            return
        for other in self._others(node):
            yield self._site(node, slot, other)
        holder, name = slot
        if name == "test" and not isinstance(holder, ast.IfExp) and _is_plain(node):
            yield self._site(node, slot, ast.UnaryOp(ast.Not(), node))
        yield from self._tests(node)
        yield from self._elements(node)
        if _letters(node):
            yield from self._expression(node.left, (node, "left"))
        else:
            yield from self._children(node)

    def _others(self, node: ast.expr) -> Iterator[ast.expr]:
        match node:
            case ast.Compare(left, ops, comparators):
                for n, op in enumerate(ops):
                    yield ast.Compare(left, [*ops[:n], _COMPARE[type(op)](), *ops[n + 1 :]], comparators)
                for n in range(len(_letters(node))):
                    yield ast.Compare(left, ops, [ast.Constant(_letters(node)[:n] + _letters(node)[n + 1 :])])
            case ast.BoolOp(op, values):
                yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
                for n in range(len(values)):
                    rest = values[:n] + values[n + 1 :]
                    yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
            case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
                yield operand
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
                yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
            case ast.IfExp(_, body, orelse):
                yield from (body, orelse)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _CALLS:
                yield ast.Call(ast.Name(_CALLS[name], ast.Load()), args, keywords)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr="compile")):
                yield from _patterns(node)
            case ast.Constant(value):
                yield from map(ast.Constant, _constants(value))

    def _tests(self, node: ast.expr) -> Iterator[Site]:
        """Conditions of a comprehension left out."""
        for comprehension in getattr(node, "generators", ()):
            for n, test in enumerate(comprehension.ifs):
                yield self._site(test, (comprehension.ifs, n), ast.Constant(value=True))

    def _elements(self, node: ast.expr) -> Iterator[Site]:
        """An element left out: of a set or dict, and of a tuple or list outside of functions, which is a table."""
        match node:
            case ast.Dict(keys, values):
                for n, key in enumerate(keys):
                    rest = ast.Dict(keys[:n] + keys[n + 1 :], values[:n] + values[n + 1 :])
                    yield self._without(node, key or values[n], rest)
            case ast.Set(elements) if len(elements) > 1:
                for n, element in enumerate(elements):
                    yield self._without(node, element, ast.Set(elements[:n] + elements[n + 1 :]))
            case ast.Tuple(elements) | ast.List(elements) if not self._in_function and len(elements) > 1:
                for n, element in enumerate(elements):
                    rest = type(node)(elements[:n] + elements[n + 1 :], ast.Load())
                    yield self._without(node, element, rest)

    def _without(self, node: ast.expr, element: ast.expr, rest: ast.expr) -> Site:
        made = self._site(element, (None, None), rest, "nothing")
        fields = dict(ast.iter_fields(rest))
        return replace(made, apply=lambda: vars(node).update(fields))

    def _other_refusal(self, slot: Slot) -> Site:
        node = _get(slot)
        code = "E_STORE" if node.attr != "E_STORE" else "E_SHAPE"
        return self._site(node, slot, ast.Attribute(node.value, code, ast.Load()))

    def _site(self, node: Any, slot: Slot, other: ast.AST, told: str = "") -> Site:
        ast.copy_location(other, node)
        change = f"{_short(node)} -> {told or _short(other)}"
        lines = self._lines if node.lineno in self._lines else range(node.lineno, node.lineno + 1)
        line = self._text[node.lineno - 1].strip()
        return Site(self.file, self._where, line, change, 0, lines, self._names, lambda: _put(slot, other))


def _slots(node: ast.AST) -> Iterator[Slot]:
    for name, value in ast.iter_fields(node):
        if name in _UNREAD or (isinstance(node, ast.ClassDef) and name == "keywords"):
            continue
        if isinstance(value, list):
            yield from ((value, n) for n, each in enumerate(value) if isinstance(each, ast.AST))
        elif isinstance(value, ast.AST):
            yield node, name


def _get(slot: Slot) -> Any:
    holder, key = slot
    return holder[key] if isinstance(holder, list) else getattr(holder, key)


def _put(slot: Slot, node: ast.AST) -> None:
    holder, key = slot
    if isinstance(holder, list):
        holder[key] = node
    else:
        setattr(holder, key, node)


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(node, name, None):
            yield block
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


def _head(node: ast.stmt) -> range:
    """Lines of a statement without the blocks that it holds, decorators included."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    body = getattr(node, "body", None)
    last = max(first, body[0].lineno - 1) if body else node.end_lineno or first
    return range(first, last + 1)


def _bound(node: ast.stmt) -> frozenset[str]:
    """Names that a statement gives."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    names = {each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)}
    return frozenset(names | ({node.name} if hasattr(node, "name") else set()))


def _constants(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
        if value >= 1:
            yield value - 1
    elif isinstance(value, str) and _CELLS.fullmatch(value):
        for at, letter in enumerate(value):
            yield from (value[:at] + other + value[at + 1 :] for other in _CELL.get(letter, ""))
    elif isinstance(value, str) and _CODE.fullmatch(value):
        yield value + "X"
    elif isinstance(value, bytes):
        yield value + b"X"


def _patterns(node: ast.Call) -> Iterator[ast.Call]:
    """A bound of a repetition moved, a repetition once for many."""
    pattern = node.args[0]
    if not isinstance(pattern, ast.Constant):
        return
    words = pattern.value if isinstance(pattern.value, str) else pattern.value.decode()
    for found in re.finditer(r"(?<=[{,])\d+(?=[,}])|(?<=[\])])[*+]", words):
        moved = "" if not found[0].isdigit() else str(int(found[0]) + 1)
        text = words[: found.start()] + moved + words[found.end() :]
        other = ast.Constant(text if isinstance(pattern.value, str) else text.encode())
        yield ast.Call(node.func, [other, *node.args[1:]], node.keywords)


def _is_words(node: ast.stmt) -> bool:
    """A docstring, a log line, a list for Python alone, or an import."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return True
    return bool(_bound(node) & _NAMES_OF_PYTHON)


def _is_told(node: ast.expr) -> bool:
    """A text with words in it, whatever else is; and the choice between two, one of which is."""
    match node:
        case ast.Constant(str(text)):
            return " " in text and not _CELLS.fullmatch(text)
        case ast.JoinedStr(parts):
            return any(isinstance(part, ast.Constant) and " " in part.value for part in parts)
        case ast.IfExp(_, body, orelse):
            return _is_told(body) or _is_told(orelse)
    return False


def _is_type_alias(node: ast.stmt) -> bool:
    """Or a type variable."""
    match node:
        case ast.Assign(value=ast.Subscript() | ast.BinOp() | ast.Call(func=ast.Name(id="TypeVar"))):
            return True
    return False


def _letters(node: ast.expr) -> str:
    """A text that is searched for a letter."""
    match node:
        case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Constant(str(letters))]):
            return letters
    return ""


def _is_refusal(node: object) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="Refusal" | "_R" | "R"), attr=name):
            return name in Refusal.__members__
    return False


def _is_plain(node: ast.expr) -> bool:
    return not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
