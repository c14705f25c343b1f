"""A file that is there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def whole_file(path: Path) -> Iterator[Path | None]:
    """Yield where to write what `path` shall hold, or None if another process has just written it.

    One process at a time; `path` appears, by a rename, only if the body ends well. A kill leaves at most a `.part`
    file, which nothing reads and the next writer overwrites. Raises OSError when the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists():
            yield None
            return
        part = path.with_name(path.name + ".part")
        try:
            yield part
            with open(part, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
