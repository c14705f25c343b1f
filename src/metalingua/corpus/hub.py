"""Texts from the Hugging Face Hub, at a pinned revision."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metalingua.corpus.corpus import CorpusError, Unreachable
from metalingua.corpus.table import Columns, Record


class Hub:
    """One split of a data set on the Hub.

    path      its id, owner/name;  config  its configuration, None for the only one
    revision  the 40 hexadecimal digits of a commit: a branch could change between two runs
    split     "train", or part of it: "train[:5000]"
    """

    def __init__(self, path: str, revision: str, split: str, columns: Columns, config: str | None = None):
        if not re.fullmatch("[0-9a-f]{40}", revision):
            raise CorpusError(f"hub.revision is {revision!r} for {path}; pin a commit: 40 hexadecimal digits")
        self.path, self.config, self.revision, self.split, self.columns = path, config, revision, split, columns

    def spec(self) -> dict[str, Any]:
        return {**vars(self), "columns": self.columns.spec()}

    def present(self, cache: Path) -> bool:
        return False  # what the Hub's own cache holds is not ours to know; rows loaded before lie in `cache`

    def rows(
        self, cache: Path, labels: list[str] | None, rating_range: list[float] | None
    ) -> Iterator[dict[str, list]]:
        import datasets

        try:
            loaded = datasets.load_dataset(self.path, self.config, split=self.split, revision=self.revision)
        except Exception as error:  # half a dozen libraries raise here, each its own kinds
            raise Unreachable(
                f"hub.path {self.path} at revision {self.revision}, split {self.split}, could not be loaded "
                f"({type(error).__name__}: {error})\n  check the network, HF_HUB_OFFLINE and the hub block's keys"
            ) from error
        records = (Record(f"{self.path}[{self.split}]:row {i}", row) for i, row in enumerate(loaded))
        return self.columns.rows(records, labels, rating_range, key="hub")
