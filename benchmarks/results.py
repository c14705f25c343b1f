"""results.json and models.json: everything measured, each with what it is of. A cut benchmark goes on with what is not
there yet."""

import hashlib
import json
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from metalingua.machine import cores
from metalingua.result.identity import SOURCES, commit
from metalingua.result.run import write_atomically

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PACKAGES = ("torch", "numpy", "pytorch-lightning", "transformers", "peft", "learn2learn", "higher", "torchopt")
# what decides a measurement: metalingua, and of the benchmarks all but what reads, draws and tells
TELLING = ("page.py", "models_page.py", "results.py", "summary.py", "goals.py")


@cache
def stamp() -> dict[str, Any]:
    """What a measurement is of: code, versions, machine."""
    summed = hashlib.sha256()
    for folder, left_out in ((HERE.parent / "src" / "metalingua", ()), (HERE, TELLING)):
        for path in sorted(folder.rglob("*")):
            if path.suffix in SOURCES and path.name not in left_out:
                summed.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return {
        "commit": commit(),
        "sources": summed.hexdigest()[:12],
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "cpu": cpu(),
        "cores": cores(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu() -> str:
    """The processor's name, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


class Results:
    """Sections of named entries: speed, growth, overhead, time_to_accuracy; of models.json: models."""

    def __init__(self, path: Path = RESULTS):
        self.path = path
        self.all: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"stamps": {}}

    def fresh(self, section: str, name: str) -> bool:
        """Whether this entry is there, measured with the same code and versions on the same kind of machine. The commit
        alone does not count: it also names texts."""
        entry = self.all.get(section, {}).get(name)
        return entry is not None and self._same(self.all["stamps"][entry["stamp"]], stamp())

    @staticmethod
    def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return {**one, "commit": None} == {**other, "commit": None}

    def put(self, section: str, name: str, entry: dict[str, Any]) -> None:
        """Keep `entry`, on disk at once, and forget stamps that nothing is of any more."""
        of = hashlib.sha256(json.dumps(stamp(), sort_keys=True).encode()).hexdigest()[:12]
        self.all["stamps"][of] = stamp()
        self.all.setdefault(section, {})[name] = {"stamp": of, **entry}
        self._write()

    def order(self, section: str, names: Sequence[str]) -> None:
        """Put the entries of `section` in the order of `names`, and forget those that are not among them."""
        found = self.all.get(section, {})
        self.all[section] = {name: found[name] for name in names if name in found}
        self._write()

    def _write(self) -> None:
        sections = [entries for name, entries in self.all.items() if name != "stamps"]
        used = {entry["stamp"] for entries in sections for entry in entries.values()}
        self.all["stamps"] = {key: value for key, value in self.all["stamps"].items() if key in used}
        write_atomically(self.path, (json.dumps(self.all, indent=1) + "\n").encode())
