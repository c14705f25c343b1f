"""A question with a folder: experiments/NNNN_name/study.yaml says which runs answer it and which tables they make."""

import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from metalingua.error import UserError

MANY = {"study": "studies", "search": "searches"}  # of each kind of folder, its plural
KINDS = {  # kind of table -> what it may be given, besides `of`, `kind` and `into`
    "targets": set(),
    "across": {"rows", "columns", "over", "minus", "mean", "learners", "metric"},
    "grid": {"keys"},
    "equal_cost": {"by"},
}

BY = ("seconds", "flops")  # what a cost may be


class StudyError(UserError):
    """A study that cannot mean what it says."""


@dataclass(frozen=True)
class Table:
    """A table of a study: of which runs, in which shape, printed in which files between their markers.

    of    pattern of grid names
    kind  "targets": one table a target, a row a learner; "across": several models or tasks side by side; "grid": a
          sweep, judged on meta-validation; "equal_cost": what each learner had reached there, by: seconds or flops
    how   as the function of that kind takes it: result.across.across, result.grid.grid, result.equal_cost.equal_cost
    """

    name: str
    of: str
    kind: str
    how: Mapping[str, Any]
    into: tuple[Path, ...]


@dataclass(frozen=True)
class Study:
    """What study.yaml says.

    folder    experiments/NNNN_name
    question  what it asks, in words
    base      overrides of every run, such as experiment=encoders
    grids     name, which is the folder of its kept runs -> lines, each as it stands after `python train.py -m`
    """

    folder: Path
    question: str
    base: tuple[str, ...]
    grids: Mapping[str, tuple[tuple[str, ...], ...]]
    tables: Mapping[str, Table]

    @property
    def name(self) -> str:
        return self.folder.name

    def of(self, pattern: str) -> list[str]:
        """The names of the grids that `pattern` means."""
        return [name for name in self.grids if fnmatch.fnmatchcase(name, pattern)]


def find(root: Path, given: str, kind: str = "study") -> Path:
    """The folder of the study, or search, that a person calls `given`: 0001, 0001_sentiment, or its path. Raises
    StudyError."""
    file = f"{kind}.yaml"
    if (Path(given) / file).is_file():
        return Path(given)
    known = sorted(path.parent for path in (root / "experiments").glob(f"*/{file}"))
    found = [path for path in known if path.name == given or path.name.partition("_")[0] == given]
    if len(found) != 1:
        there = ", ".join(path.name for path in known) or f"none: a {kind} is a folder with a {file}"
        what = f"{len(found)} {MANY[kind]}" if found else f"no {kind}"
        raise StudyError(f"{what} called {given} in {root / 'experiments'}; there is {there}")
    return found[0]


def loaded(file: Path, needs: Sequence[str], may: Sequence[str]) -> dict[str, Any]:
    """What a yaml says that has the keys `needs`, and no others but `may`. Raises StudyError."""
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{file} cannot be read: {error}") from error
    if not isinstance(given, dict) or not {*needs} <= set(given) <= {*needs, *may}:
        has = sorted(given) if isinstance(given, dict) else given
        more = f"{', '.join(may[:-1])} and {may[-1]}"
        raise StudyError(f"{file} has {has}; it takes {', '.join(needs)}, and if need be {more}")
    return given


def read(folder: Path) -> Study:
    """The study in `folder`. Raises StudyError, naming the file and the key."""
    file = folder / "study.yaml"
    given = loaded(file, needs=("question", "grids"), may=("base", "tables"))
    grids = given["grids"]
    if not isinstance(grids, dict) or not grids:
        raise StudyError(f"{file}: grids is {grids!r}; it must name one grid or more, `runs: seed=0,1,2`")
    lines = {str(name): tuple(_words(file, f"grids.{name}", one) for one in _listed(line))
             for name, line in grids.items()}  # fmt: skip
    tables = {str(name): _table(file, str(name), table, lines) for name, table in (given.get("tables") or {}).items()}
    base = _words(file, "base", given.get("base") or "")
    return Study(folder, " ".join(str(given["question"]).split()), base, lines, tables)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _words(file: Path, key: str, line: Any) -> tuple[str, ...]:
    if not isinstance(line, str):
        raise StudyError(f"{file}: {key} is {line!r}; it must be what follows `python train.py -m`, as one text")
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise StudyError(f"{file}: {key} cannot be read: {error}") from error


def _table(file: Path, name: str, given: Any, grids: Mapping[str, Any]) -> Table:
    at = f"{file}: tables.{name}"
    if not isinstance(given, dict) or "of" not in given:
        raise StudyError(f"{at} is {given!r}; it needs `of`, the name of a grid or a pattern of names")
    kind, of, into = given.get("kind", "targets"), str(given["of"]), _listed(given.get("into", "README.md"))
    if kind not in KINDS:
        raise StudyError(f"{at}.kind is {kind!r}; there is {', '.join(KINDS)}")
    how = {key: value for key, value in given.items() if key not in ("of", "kind", "into")}
    if unknown := set(how) - KINDS[kind]:
        takes = ", ".join(sorted(KINDS[kind])) or "nothing more"
        raise StudyError(f"{at} has {', '.join(sorted(unknown))}; a table of kind {kind} takes {takes}")
    if kind == "equal_cost" and how.get("by") not in BY:
        raise StudyError(f"{at}.by is {how.get('by')!r}; it must be {' or '.join(BY)}")
    if not any(fnmatch.fnmatchcase(grid, of) for grid in grids):
        raise StudyError(f"{at}.of is {of}, which is no grid; there is {', '.join(grids)}")
    return Table(name, of, kind, how, tuple(Path(each) for each in into))
