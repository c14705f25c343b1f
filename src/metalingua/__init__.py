"""Meta-learning for language: everything is a mapping. Importing this imports no torch."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("metalingua")
except PackageNotFoundError:  # a source tree on PYTHONPATH, not installed
    __version__ = "0+source"
