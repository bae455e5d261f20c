"""A change in a process: living functions are given their new code, or all of our modules are loaded anew."""

import importlib
import importlib.machinery
import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType, FunctionType

_FUNCTION = 0x1  # CO_OPTIMIZED: the code of a function, not of a module or class
Loading = frozenset[tuple[str, int, str]]
"""File, first line and name of functions."""

_OURS = ("dcu", "tests", "conftest", "running_store")


def renew(old: CodeType, new: CodeType, living: Iterable[FunctionType], loading: Loading = frozenset()) -> bool:
    """Give the living functions of a module their new code.

    False: something outside of functions has changed, or a function of `loading` (see `run_by_loading`): what those
    have made stays as it was made.
    """
    pairs = list(_pairs(old, new))
    if not all(_is_function(was) or _is_same(was, now) for was, now in pairs):
        return False
    changed = {was: now for was, now in pairs if was != now and _is_function(was)}
    if not loading.isdisjoint(map(_place, changed)):
        return False
    found = [each for each in living if each.__code__ in changed]
    if not found or any(len(each.__code__.co_freevars) != len(changed[each.__code__].co_freevars) for each in found):
        return False
    for each in found:
        each.__code__ = changed[each.__code__]
    return True


def run_by_loading(names: Iterable[str]) -> Loading:
    """The functions of modules that run while these modules are loaded, all anew: in a process of its own."""
    found: set[tuple[str, int, str]] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and _is_function(frame.f_code):
            found.add(_place(frame.f_code))

    _forget_ours()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        sys.setprofile(before)
    return frozenset(found)


def load_anew(path: str, new: CodeType) -> None:
    """Forget every module of ours; when the one at `path` is loaded again, it is `new`."""
    _forget_ours()
    sys.meta_path.insert(0, _Changed(path, new))


def _forget_ours() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in _OURS]:
        del sys.modules[name]


def _place(code: CodeType) -> tuple[str, int, str]:
    return code.co_filename, code.co_firstlineno, code.co_name


class _Changed:
    """Finds one module, changed."""

    def __init__(self, path: str, code: CodeType) -> None:
        self._path, self._code = path, code

    def find_spec(self, name: str, path=None, target=None):
        """As the import machinery asks."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if name.startswith("dcu.") else None
        if spec is None or spec.origin != self._path:
            return None
        code = self._code
        spec.loader.get_code = lambda _name: code
        return spec


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The code of each function and class, before and after; the outermost alone where their number has changed."""
    yield old, new
    inner, renewed = _inner(old), _inner(new)
    if [code.co_name for code in inner] == [code.co_name for code in renewed]:
        for was, now in zip(inner, renewed, strict=True):
            yield from _pairs(was, now)


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _is_function(code: CodeType) -> bool:
    return bool(code.co_flags & _FUNCTION)


def _is_same(old: CodeType, new: CodeType) -> bool:
    """But for the code in it."""
    return _own(old) == _own(new)


def _own(code: CodeType) -> tuple:
    constants = [each.co_name if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_exceptiontable
