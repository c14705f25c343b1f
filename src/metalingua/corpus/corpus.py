"""A corpus: texts of one domain and language, whatever source they come from."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from metalingua.corpus.atomic import whole_file
from metalingua.error import UserError

if TYPE_CHECKING:
    from datasets import Dataset

COUNTED = "counted"  # in the metadata of kept rows
SCHEMA = 1  # part of every cache key: raise it when the same source would give other rows


class CorpusError(UserError):
    """The texts are not there, or are not what the config says they are."""


class Unreachable(CorpusError):
    """Something would have to be fetched, and cannot be."""


class Source(Protocol):
    """Where a corpus's rows come from. `cache` is the folder in which a source may keep what it fetched."""

    def spec(self) -> dict[str, Any]:
        """All that decides the rows, as JSON."""

    def present(self, cache: Path) -> bool:
        """Whether `rows` would fetch nothing."""

    def rows(
        self, cache: Path, labels: list[str] | None, rating_range: list[float] | None
    ) -> Iterable[dict[str, list]]:
        """The columns of the schema, some rows at a time, every value checked.

        Raises CorpusError, when it is asked for or at any batch: what came before it is of no use then.
        """


class Corpus:
    """What conf/corpus/NAME.yaml builds: `labels` (classification) or `rating_range` (regression) is given, or neither:
    then the texts are unlabelled.

    domain        of all its texts; where `columns.domain` names a column, each text has its own, and this says of what
    source        which of the blocks pypi, hub and files is used
    rating_range  [lowest, highest], rating points
    label_words   label to what a reader would call that class, where the label itself does not say it well
    cache         a folder: downloads, and under arrow/ the rows of everything loaded so far
    """

    def __init__(
        self, name: str, domain: str, language: str, source: str, cache: str, licence: str, citation: str,
        labels: Sequence[str] | None = None, rating_range: Sequence[float] | None = None,
        pypi: Source | None = None, hub: Source | None = None, files: Source | None = None,
        label_words: Mapping[str, str] | None = None,
    ):  # fmt: skip
        self.name, self.domain, self.language = name, domain, language
        self.source, self.cache = source, Path(cache)
        self.licence, self.citation = licence, citation
        self.labels = None if labels is None else [str(label) for label in labels]
        self.rating_range = None if rating_range is None else [float(end) for end in rating_range]
        self.label_words = {str(label): words for label, words in (label_words or {}).items()}
        self.pypi, self.hub, self.files = pypi, hub, files
        self._blocks = {"pypi": pypi, "hub": hub, "files": files}
        self._checksum: str | None = None
        self._check()

    def _check(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise CorpusError(f"corpus name is {self.name!r}; it names files: use letters, digits, '_', '-' and '.'")
        if self._blocks.get(self.source) is None:
            raise CorpusError(
                f"corpus {self.name}: source is {self.source!r}, but this corpus has {self._others() or 'no source'}; "
                "set corpus.source to one it has, or add the block to its yaml"
            )
        if self.labels is not None and self.rating_range is not None:
            raise CorpusError(
                f"corpus {self.name}: labels is {self.labels} and rating_range is {self.rating_range}; "
                "give at most one of them and set the other to null"
            )
        if self.labels is not None and (len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels)):
            raise CorpusError(f"corpus {self.name}: labels is {self.labels}; give two or more, each once")
        if strange := [label for label in self.label_words if label not in (self.labels or ())]:
            raise CorpusError(
                f"corpus {self.name}: label_words has {strange[0]!r}, and labels is {self.labels}; words are given to "
                "labels as they are written there"
            )
        if self.rating_range is not None and not (
            len(self.rating_range) == 2 and self.rating_range[0] < self.rating_range[1]
        ):
            raise CorpusError(f"corpus {self.name}: rating_range is {self.rating_range}; give [lowest, highest]")

    def load(self) -> "Dataset":
        """The rows: text string, and label string (one of `labels`), rating float64 (within `rating_range`) or neither;
        and domain string, where `columns.domain` names a column.

        The first call reads the source and writes Arrow; later ones read only that. Raises CorpusError.
        """
        try:
            path = self._arrow()
            if not path.exists():
                with whole_file(path) as part:
                    if part is not None:
                        self._write(part)
            return self._read(path)
        except Unreachable as error:
            others = self._others(but=self.source)
            way = f"\n  or set corpus.source to one of this corpus's others: {others}" if others else ""
            raise Unreachable(f"corpus {self.name}: {error}{way}") from error
        except CorpusError as error:
            raise CorpusError(f"corpus {self.name}: {error}") from error
        except OSError as error:
            raise CorpusError(
                f"corpus {self.name}: corpus.cache is {self.cache}, which cannot be written or read: {error}; "
                "free some space there or set corpus.cache to another folder"
            ) from error

    def counted(self) -> dict[str, int]:
        """What was mended or left out when the source was read, where its columns count that."""
        import pyarrow as pa

        self.load()
        with pa.memory_map(str(self._arrow())) as file:
            about = pa.ipc.open_stream(file).schema.metadata or {}
        return json.loads(about.get(COUNTED.encode(), b"{}"))

    def checksum(self) -> str:
        """sha256 over the loaded rows in their order, hexadecimal; of one object, worked out once."""
        if self._checksum is None:
            digest = hashlib.sha256()
            for batch in self.load().iter(batch_size=1000):
                for row in zip(*batch.values(), strict=True):
                    digest.update(json.dumps(row).encode() + b"\n")  # JSON: no two rows have the same bytes
            self._checksum = digest.hexdigest()
        return self._checksum

    def present(self) -> bool:
        """Whether `load` would fetch nothing."""
        source = self._source()
        try:
            return self._arrow().exists() or source.present(self.cache)
        except CorpusError:  # a file that is to be read is not there
            return False

    def lacks(self) -> str | None:
        """What `load` would say of a file of one's own that is not there; None where it is, or would be fetched."""
        source = self._source()
        if self.source != "files" or source.present(self.cache):
            return None
        try:
            source.spec()
        except CorpusError as error:
            return str(error)
        return None

    def _source(self) -> Source:
        source = self._blocks[self.source]
        assert source is not None  # _check
        return source

    def _others(self, but: str = "") -> str:
        return ", ".join(name for name, block in self._blocks.items() if block is not None and name != but)

    def _arrow(self) -> Path:
        content = [SCHEMA, self.source, self._source().spec(), self.labels, self.rating_range]
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return self.cache / "arrow" / f"{self.name}-{key[:16]}.arrow"

    def _read(self, path: Path) -> "Dataset":
        import pyarrow as pa
        from datasets import Dataset

        try:
            return Dataset.from_file(str(path))
        except (pa.ArrowInvalid, OSError) as error:
            if not os.access(path, os.R_OK):
                raise
            raise CorpusError(f"{path} is damaged ({error}); delete it, it is made anew") from error

    def _write(self, part: Path) -> None:
        import pyarrow as pa

        rows = iter(self._source().rows(self.cache, self.labels, self.rating_range))
        some = next(rows, None)  # a kind's rows may all be one batch: what it counts is counted then
        types = {"text": pa.string(), "label": pa.string(), "rating": pa.float64(), "domain": pa.string()}
        types |= {"words": pa.list_(pa.string()), "tags": pa.list_(pa.string())}
        types |= {"question": pa.string(), "answers": pa.list_(pa.string()), "starts": pa.list_(pa.int64())}
        types |= {"target": pa.string(), "target_language": pa.string()}
        counted = getattr(getattr(self._source(), "columns", None), "counted", None) or {}
        about = {COUNTED: json.dumps({what: number for what, number in counted.items() if number})}
        schema = pa.schema([(column, types[column]) for column in some or ()], metadata=about)
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            while some:  # few at a time: they need not fit into memory
                # small chunks: one episode touches few rows
                writer.write_table(pa.table(some, schema=schema), max_chunksize=1000)
                some = next(rows, None)
