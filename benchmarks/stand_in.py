"""Makes learn2learn importable. It imports torchvision, gym and qpth for data sets and environments that nothing here
uses, and that its last release no longer goes with."""

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ABSENT = ("torchvision", "gym", "qpth")


class _Empty(ModuleType):
    """A package in which every name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__init__": lambda self, *args, **kwargs: None})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ABSENT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "gym.envs.registration":
            module.register = lambda *args, **kwargs: None  # type: ignore[attr-defined]


def learn2learn() -> ModuleType:
    """The library. Raises ImportError where it is not installed."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("learn2learn")
    finally:
        sys.meta_path.remove(finder)
