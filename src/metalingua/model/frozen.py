"""Features that nothing tunes: worked out once for every text, kept on disk, shared by runs and processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from metalingua.corpus.atomic import whole_file
from metalingua.error import UserError
from metalingua.machine import cores

Item: TypeAlias = "str | np.ndarray"  # a text as an encoder reads it: itself, or its token ids
Encode = Callable[[Sequence[Item]], np.ndarray]  # to [items, size] float32

TOKENS_AT_ONCE = 1024  # of a batch, padding included: more no longer fit into the caches
SHARD = 1024  # texts a file: what a kill may lose
KEY = 16  # bytes


class FrozenFeatures:
    """A text's features by what was read of it, in the folder of one encoder with its settings.

    Files are only added, each whole or not at all, so that any process may read while another writes. Two that want to
    write take turns, and the second finds what the first one made. A file that is damaged counts as absent.

    Within rounding (about 1e-6) features depend on the texts that were worked out in the same batch.

    folder  made when there is something to write
    size    numbers a text
    encode  the encoder; its batches are as long as their longest text
    """

    def __init__(self, folder: Path, size: int, encode: Encode):
        self.folder, self.size, self.encode = folder, size, encode
        self._shards: dict[str, np.ndarray] = {}  # by file name: mapped into memory, not read
        self._place: dict[bytes, np.ndarray] = {}  # by key: the features' row in its shard

    def fill(self, items: Sequence[Item]) -> int:
        """Work out what is not there yet. Returns how many these were. Raises UserError if the disk takes no more."""
        wanted = {_key(item): item for item in items}
        self._look()
        if all(key in self._place for key in wanted):
            return 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.folder}.lock"):
                self._look()  # another process may have made them just now
                new = {key: item for key, item in wanted.items() if key not in self._place}
                if new:
                    self._write(new, len(wanted))
        except OSError as error:
            raise UserError(
                f"features cannot be kept in {self.folder}: {error}; free some space there, or set model.cache to "
                "another folder"
            ) from error
        return len(new)

    def features(self, items: Sequence[Item]) -> Tensor:
        """[items, size] float32; of those that `fill` never met worked out now, and not kept."""
        found = np.empty((len(items), self.size), dtype=np.float32)
        unknown = []
        for i, item in enumerate(items):
            row = self._place.get(_key(item))
            if row is None:
                unknown.append(i)
            else:
                found[i] = row
        if unknown:
            found[unknown] = self.encode([items[i] for i in unknown])
        return torch.from_numpy(found)

    def _look(self) -> None:
        """Map the files that other calls or processes have added."""
        kind = self._kind()
        for path in sorted(self.folder.glob("*.npy")):
            if path.name not in self._shards:
                try:
                    shard = np.load(path, mmap_mode="r")
                except (ValueError, EOFError, OSError):
                    continue
                if shard.dtype == kind:
                    self._shards[path.name] = shard
                    self._place |= zip(
                        (key.tobytes() for key in shard["key"]), np.asarray(shard["features"]), strict=True
                    )

    def _write(self, new: dict[bytes, Item], wanted: int) -> None:
        # long texts first: then the bar's guess at the rest is no promise that it breaks
        order = sorted(new, key=lambda key: len(new[key]), reverse=True)
        words = f"Features of {len(new):,} texts" + f", {wanted - len(new):,} are there" * (len(new) < wanted)
        with _workers() as pool, _bar(words, len(new)) as advance:
            for keys in (order[i : i + SHARD] for i in range(0, len(order), SHARD)):
                shard = np.empty(len(keys), self._kind())
                shard["key"] = [np.void(key) for key in keys]
                places = list(batches([len(new[key]) for key in keys]))
                texts = [[new[keys[i]] for i in batch] for batch in places]
                for batch, found in zip(places, pool.map(self.encode, texts), strict=True):
                    shard["features"][batch] = found
                    advance(len(batch))
                path = self.folder / f"{blake2b(b''.join(keys), digest_size=8).hexdigest()}.npy"
                path.unlink(missing_ok=True)  # there, but damaged: else its keys were known
                with whole_file(path) as part:
                    if part is not None:
                        with open(part, "wb") as file:
                            np.save(file, shard)
        self._look()

    def _kind(self) -> np.dtype:
        return np.dtype([("key", f"V{KEY}"), ("features", "<f4", (self.size,))])


def batches(lengths: Sequence[int], tokens: int = TOKENS_AT_ONCE) -> Iterator[list[int]]:
    """Places of texts that are encoded as one, those of like lengths together: of so many `tokens`, or one text."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (len(batch) + 1) * lengths[batch[0]] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _key(item: Item) -> bytes:
    read = item.encode() if isinstance(item, str) else item.astype("<i4").tobytes()
    return blake2b(read, digest_size=KEY).digest()


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """A thread a core of this process, one batch each: where cores are busy, one batch on all of them waits for the
    slowest at every product, and takes up to three times as long."""
    pool = ThreadPoolExecutor(cores(), "features", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _bar(words: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of `total` texts, told how many more are done; one line without a terminal."""
    console = Console()
    if not console.is_terminal:
        console.print(words, highlight=False, soft_wrap=True)
        yield lambda more: None
        return
    with Progress(TextColumn(words), BarColumn(20), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda more: bar.advance(task, more)
