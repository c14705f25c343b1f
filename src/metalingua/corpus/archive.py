"""One member of an archive, as bytes: nothing is unpacked to disk, nothing is run."""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from metalingua.corpus.corpus import CorpusError

LARGEST_MEMBER = 256 * 2**20  # bytes; the largest known member is 34 MB
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, OSError)


def read_member(archive: bytes, members: Sequence[str], name: str) -> bytes:
    """The bytes of members[-1]; each member but the last is an archive that holds the next. `name` is for errors.

    Raises CorpusError: no zip or tar, a path that leads outside, no such member, larger than LARGEST_MEMBER.
    """
    for member in members:
        try:
            archive = _read_one(io.BytesIO(archive), member, name)
        except DAMAGED as error:
            raise CorpusError(f"{name}: not a zip or tar archive that can be read: {error}") from error
        name = f"{name}/{member}"
    return archive


def _read_one(archive: io.BytesIO, member: str, name: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                _check(entry.filename, entry.file_size, name)
            _require(member, zipped.namelist(), name)
            with zipped.open(member) as stream:  # zipfile reads no more than the size checked above
                return stream.read()
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        files = {}
        for info in tar:  # checked header by header: reaching the next means decompressing this one
            _check(info.name, info.size, name)
            files[info.name] = info
        _require(member, list(files), name)
        plain = tar.extractfile(files[member]) if files[member].isreg() else None  # a link could lead anywhere
        if plain is None:
            raise CorpusError(f"{name}: member {member!r} is not a plain file; only plain files are read")
        return plain.read()


def _check(path: str, size: int, name: str) -> None:
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or path[1:2] == ":":
        raise CorpusError(f"{name}: the path of member {path!r} leads outside; such an archive is refused: get another")
    if size > LARGEST_MEMBER:
        raise CorpusError(
            f"{name}: member {path!r} has {size:,} bytes and at most {LARGEST_MEMBER:,} are read; get another archive"
        )


def _require(member: str, paths: list[str], name: str) -> None:
    if member not in paths:
        raise CorpusError(
            f"{name}: pypi.members names {member!r}, which is not in it; name one of {', '.join(sorted(paths)[:20])}"
        )
