"""Texts from the Hugging Face Hub, at a pinned revision."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalingua.corpus.corpus import CorpusError, Unreachable
from metalingua.corpus.table import Columns, Record

if TYPE_CHECKING:
    from datasets import Dataset

CONFIG = "config"  # the column that says which of several configurations a row is of


class Hub:
    """One split of a data set on the Hub. A number that stands there for a class is read as the class's name, unless
    `columns.label_names` says what it is.

    path      its id, owner/name
    config    its configuration, None for the only one; name -> configuration for several: the rows of all, each with
              that name in a column `config`
    revision  the 40 hexadecimal digits of a commit: a branch could change between two runs
    split     "train", or part of it: "train[:5000]"
    """

    def __init__(
        self, path: str, revision: str, split: str, columns: Columns, config: str | Mapping[str, str] | None = None
    ):  # fmt: skip
        if not re.fullmatch("[0-9a-f]{40}", revision):
            raise CorpusError(f"hub.revision is {revision!r} for {path}; pin a commit: 40 hexadecimal digits")
        self.path, self.revision, self.split, self.columns = path, revision, split, columns
        self.config = dict(config) if isinstance(config, Mapping) else config

    def spec(self) -> dict[str, Any]:
        return {**vars(self), "columns": self.columns.spec()}

    def present(self, cache: Path) -> bool:
        return False  # what the Hub's own cache holds is not ours to know; rows loaded before lie in `cache`

    def rows(
        self, cache: Path, labels: list[str] | None, rating_range: list[float] | None
    ) -> Iterator[dict[str, list]]:
        return self.columns.rows(self._records(), labels, rating_range, key="hub")

    def _records(self) -> Iterator[Record]:
        several = isinstance(self.config, dict)
        for name, config in self.config.items() if isinstance(self.config, dict) else [("", self.config)]:
            loaded = self._load(config)
            place = f"{self.path}[{self.split}]" + (f", {config}" if several else "")
            names = {} if getattr(self.columns, "label_names", None) else _class_names(loaded)
            for i, row in enumerate(loaded):
                values = {column: _named(value, names.get(column)) for column, value in row.items()}
                yield Record(f"{place}:row {i}", {**values, CONFIG: name} if several else values)

    def _load(self, config: str | None) -> "Dataset":
        import datasets

        try:
            return datasets.load_dataset(self.path, config, split=self.split, revision=self.revision)
        except Exception as error:  # half a dozen libraries raise here, each its own kinds
            raise Unreachable(
                f"hub.path {self.path} at revision {self.revision}, split {self.split}, could not be loaded "
                f"({type(error).__name__}: {error})\n  check the network, HF_HUB_OFFLINE and the hub block's keys"
            ) from error


def _class_names(loaded: "Dataset") -> dict[str, list[str]]:
    """Column to names of its classes, of columns that hold numbers of classes, or lists of these."""
    each = {column: getattr(feature, "feature", feature) for column, feature in loaded.features.items()}
    return {column: feature.names for column, feature in each.items() if hasattr(feature, "names")}


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None:
        return value
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value  # -1: it has no label
