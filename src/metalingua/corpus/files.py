"""Texts from one's own files."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.table import Columns, Format, Record


class Files:
    """Rows of one or several files, in the order of `paths`; format, encoding and header as in `table.Format`."""

    def __init__(
        self, paths: str | Sequence[str], columns: Columns,
        format: str | None = None, encoding: str = "utf-8", header: Sequence[str] | None = None,
    ):  # fmt: skip
        self.paths = [Path(path) for path in ([paths] if isinstance(paths, str) else paths)]
        self.columns = columns
        self.table = Format(format, encoding, None if header is None else list(header))

    def spec(self) -> dict[str, Any]:
        # by content, not by time of change: the same texts are the same corpus
        sums = []
        for path in self.paths:
            with named(path), path.open("rb") as file:
                sums.append([path.suffix, hashlib.file_digest(file, "sha256").hexdigest()])
        return {"sha256": sums, "table": vars(self.table), "columns": self.columns.spec()}

    def present(self, cache: Path) -> bool:
        return all(path.is_file() for path in self.paths)

    def rows(
        self, cache: Path, labels: list[str] | None, rating_range: list[float] | None
    ) -> Iterator[dict[str, list]]:
        if not self.paths:
            raise CorpusError("files.paths is empty; name at least one file")
        return self.columns.rows(self._records(), labels, rating_range, key="files")

    def _records(self) -> Iterator[Record]:
        for path in self.paths:
            with named(path):
                yield from self.table.records(path.open("rb"), str(path), key="files")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Says which file it was that cannot be read."""
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"files.paths: {path}: {error.strerror}; put it there, or name your own, task.corpora.NAME."
            "files.paths=[FILE]; the yaml of the corpus says what columns it has"
        ) from error
