"""Signatures of config targets, read from their source: nothing is imported, so torch and Lightning cost nothing."""

import ast
import importlib.util
import os
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


@dataclass(frozen=True)
class Argument:
    annotation: str  # as the source spells it; empty if it has none
    required: bool


@dataclass(frozen=True)
class Signature:
    arguments: dict[str, Argument]
    open: bool = False  # takes other names too (**kwargs), or the source does not say


class NoTarget(LookupError):
    """The path leads nowhere, and why; `known` are the names that stand where `name` was looked for."""

    def __init__(self, reason: str, name: str = "", known: Iterable[str] = ()):
        super().__init__(reason)
        self.name, self.known = name, list(known)


def read(target: str) -> Signature:
    """Arguments of the class or function at the dotted path `target`. Raises NoTarget if there is none."""
    found = _find(target)
    if found is None:
        return Signature({}, open=True)
    if isinstance(found.node, ast.ClassDef):
        return _of_class(found) or Signature({})
    return _of_function(found.node, bound=found.bound)


# Modules


@dataclass(frozen=True)
class _Import:
    module: str  # as written, without the leading dots
    level: int  # the number of these dots
    name: str | None  # None: the module itself, or all that is in it


@dataclass(frozen=True)
class _Source:
    """What a file binds when it is imported."""

    names: dict[str, ast.AST | _Import] = field(default_factory=dict)
    stars: list[_Import] = field(default_factory=list)
    dynamic: bool = False  # may make further names while it runs


@dataclass(frozen=True)
class _Module:
    name: str
    file: Path | None  # None: a namespace package, or built into the interpreter
    folders: tuple[Path, ...] = ()  # where its submodules are

    def child(self, name: str) -> "_Module | None":
        dotted = f"{self.name}.{name}"
        for folder in self.folders:
            entries = os.listdir(folder) if folder.is_dir() else []  # not is_file: a Mac would take Adam.py for adam.py
            inside = folder / name
            if name in entries and (inside / "__init__.py").is_file():
                return _Module(dotted, inside / "__init__.py", (inside,))
            for suffix in (".py", *EXTENSION_SUFFIXES):
                if name + suffix in entries:
                    return _Module(dotted, folder / (name + suffix))
            if name in entries and inside.is_dir():
                return _Module(dotted, None, (inside,))
        return None

    def source(self) -> _Source:
        if self.file is None:
            return _Source(dynamic=not self.folders)
        if self.file.suffix != ".py":
            return _Source(dynamic=True)
        return _parsed(self.file, self.file.stat().st_mtime_ns)

    def absolute(self, link: _Import) -> str:
        """The dotted path of what is imported."""
        parts = self.name.split(".") if link.level else []
        up = link.level - bool(self.folders)  # in a package's own file, one dot is the package
        return ".".join([*parts[: len(parts) - up], *filter(None, [link.module, link.name])])


def _top(name: str) -> _Module:
    try:
        spec = importlib.util.find_spec(name)  # finds a top-level name, imports nothing
    except ValueError:  # an empty name, or one that runs without a spec (__main__)
        spec = None
    if spec is None:
        raise NoTarget(f"no package {name} is installed", name, (module.name for module in pkgutil.iter_modules()))
    folders = tuple(map(Path, spec.submodule_search_locations or ()))
    return _Module(name, Path(spec.origin) if spec.has_location and spec.origin else None, folders)


@cache
def _parsed(file: Path, changed_ns: int) -> _Source:
    text = file.read_text(encoding="utf-8", errors="replace")
    source = _Source(dynamic=any(sign in text for sign in ("def __getattr__", "globals()", "sys.modules[")))
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise NoTarget(f"{file}, line {error.lineno}, is not Python: {error.msg}") from error
    for node in _statements(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                source.names[node.name] = node
            case ast.Import():
                for alias in node.names:
                    module = alias.name if alias.asname else alias.name.split(".")[0]
                    source.names[alias.asname or module] = _Import(module, 0, None)
            case ast.ImportFrom():
                for alias in node.names:
                    if alias.name == "*":
                        source.stars.append(_Import(node.module or "", node.level, None))
                    else:
                        source.names[alias.asname or alias.name] = _Import(node.module or "", node.level, alias.name)
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                for name in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(name, ast.Name):
                        source.names[name.id] = value
    return source


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """What runs at import, in order: into if, try and with, not into classes and functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _statements(child)


# Names


@dataclass(frozen=True)
class _Found:
    module: _Module
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    bound: bool = False  # a class method: its first argument is filled


def _find(dotted: str, seen: frozenset[str] = frozenset()) -> _Found | None:
    """The definition at a dotted path; None where the source does not say (built in, lazy, or made while it runs)."""
    parts = dotted.split(".")
    module, depth = _top(parts[0]), 1
    while depth < len(parts) - 1 and (child := module.child(parts[depth])):
        module, depth = child, depth + 1
    return _member(module, parts[depth:], seen)


def _member(module: _Module, path: list[str], seen: frozenset[str]) -> _Found | None:
    if not path:
        raise NoTarget(f"{module.name} is a module, not a class or function in one")
    name, *rest = path
    here = f"{module.name}.{name}"
    if here in seen:  # a = a, or two modules that import each other's name
        return None
    seen, source = seen | {here}, module.source()
    bound = source.names.get(name)
    if isinstance(bound, _Import) and (link := module.absolute(bound)) != here:  # not `from . import itself`
        try:
            return _find(".".join([link, *rest]), seen)
        except NoTarget:
            if rest:
                raise
            return None  # it is imported, so it is there: only its source is not
    if isinstance(bound, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return _inside(_Found(module, bound), rest)
    if isinstance(bound, ast.AST):
        alias = _dotted(bound)
        return _member(module, [*alias.split("."), *rest], seen) if alias else None
    if not rest and module.child(name):
        raise NoTarget(f"{here} is a module, not a class or function in one")
    unsure = source.dynamic and not rest
    for star in source.stars:
        try:
            found = _find(".".join([module.absolute(star), *path]), seen)
        except NoTarget:
            continue
        if found:
            return found
        unsure = True
    if unsure:
        return None
    known = [one for one in source.names if not one.startswith("_")]
    known += [one.name for one in pkgutil.iter_modules(map(str, module.folders))]
    raise NoTarget(f"{module.name} has no {name}", name, known)


def _inside(found: _Found, rest: list[str]) -> _Found | None:
    """A nested class or a method: Outer.Inner, Model.from_pretrained."""
    for name in rest:
        if not isinstance(found.node, ast.ClassDef):
            raise NoTarget(f"{found.node.name} is a function and has no {name}")
        inside = {one.name: one for one in found.node.body if isinstance(one, ast.ClassDef | ast.FunctionDef)}
        if name not in inside:
            if found.node.bases:
                return None  # inherited, perhaps
            raise NoTarget(f"{found.module.name}.{found.node.name} has no {name}", name, inside)
        marks = {_dotted(mark) for mark in inside[name].decorator_list}
        found = _Found(found.module, inside[name], bound="classmethod" in marks)
    return found


def _dotted(node: ast.AST) -> str | None:
    """The path that an expression like a.b.c spells; None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return None


# Arguments


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool) -> Signature:
    def argument(arg: ast.arg, default: ast.expr | None) -> tuple[str, Argument]:
        return arg.arg, Argument(ast.unparse(arg.annotation) if arg.annotation else "", required=default is None)

    args = node.args
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    pairs = [*zip(positional, defaults, strict=True)][bound:] + [*zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return Signature(dict(argument(*pair) for pair in pairs), open=args.kwarg is not None)


def _of_class(found: _Found) -> Signature | None:
    """Arguments of a class, from itself or the first base that has any; None if no class on the way takes some."""
    node = found.node
    assert isinstance(node, ast.ClassDef)
    made = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    for maker in ("__init__", "__new__"):
        if maker in made:
            return _of_function(made[maker], bound=True)
    if _is_dataclass(node):
        return _of_dataclass(found)
    if any((_dotted(keyword.value) or "").split(".")[-1] != "ABCMeta" for keyword in node.keywords):
        return Signature({}, open=True)  # a metaclass may call it with anything
    for base in _bases(found):
        signature = _of_class(base) if base else Signature({}, open=True)
        if signature:
            return signature
    return None


def _bases(found: _Found) -> Iterator[_Found | None]:
    """Base classes that may bring arguments; None for one whose source is out of reach."""
    assert isinstance(found.node, ast.ClassDef)
    for base in found.node.bases:
        name = _dotted(base.value if isinstance(base, ast.Subscript) else base) or ""
        if name.split(".")[-1] in ("object", "ABC", "Generic", "Protocol"):
            continue
        try:
            above = _member(found.module, name.split("."), frozenset())
        except NoTarget:  # dict, Exception: built in
            above = None
        yield above if above and isinstance(above.node, ast.ClassDef) and above.node is not found.node else None


def _is_dataclass(node: ast.ClassDef) -> bool:
    marks = [mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list]
    return any((_dotted(mark) or "").split(".")[-1] == "dataclass" for mark in marks)


def _of_dataclass(found: _Found) -> Signature:
    arguments: dict[str, Argument] = {}
    is_open = False
    assert isinstance(found.node, ast.ClassDef)
    for base in reversed([*_bases(found)]):
        above = _of_dataclass(base) if base else Signature({}, open=True)
        arguments |= above.arguments
        is_open |= above.open
    for item in found.node.body if _is_dataclass(found.node) else []:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            annotation, default = ast.unparse(item.annotation), item.value
            options = {}
            if isinstance(default, ast.Call) and (_dotted(default.func) or "").split(".")[-1] == "field":
                options = {one.arg: one.value for one in default.keywords}
                default = options.get("default") or options.get("default_factory")
            hidden = isinstance(init := options.get("init"), ast.Constant) and init.value is False
            if not hidden and "ClassVar" not in annotation and "KW_ONLY" not in annotation:
                arguments[item.target.id] = Argument(annotation, required=default is None)
    return Signature(arguments, is_open)
