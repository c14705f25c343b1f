"""Writes what models.json and the kept runs of the main job say into docs/models.md, between its markers:
`python -m benchmarks.models_page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.page import machine, markdown, reached
from benchmarks.race import ROOT
from benchmarks.results import Results
from metalingua.result.interval import Interval
from metalingua.result.page_part import rewrite
from metalingua.result.run import read_run
from metalingua.result.table import Run, tables

MODELS = ROOT / "benchmarks" / "models.json"
PAGE = ROOT / "docs" / "models.md"
KEPT = (
    ROOT / "experiments" / "0005_encoders" / "main_job"
)  # runs of the main job, as `python -m metalingua keep` has them
EPISODE_MS = 5.0  # the most that an episode may take on kept features
TARGETS = ("imdb", "amazon")

Entries = Mapping[str, Any]


def models(results: Entries) -> str:
    """What each encoder is, and how fast; a dash where it was not measured."""
    rows = []
    for name, entry in results["models"].items():
        if "absent" in entry:
            rows.append((name, *["–"] * 10))
            continue
        frozen, tokens = not entry["learned"], entry["tokens"]
        ms = entry["episode_ms"]
        rows.append((
            name, f"{entry['features']:,}", _millions(entry["numbers"]), _millions(entry["learned"]),
            f"{entry['mib']:.1f}", "all" if tokens is None else f"{tokens:.0f}",
            f"{entry['texts_per_second']:,.0f}", f"{entry['tasks_per_second']:.1f}",
            reached(ms, EPISODE_MS, ".1f", most=True) if frozen else f"{ms:.1f}",
            {True: "yes", False: "no", None: "–"}[entry["second"]], "yes" if entry["vmaps"] else "no",
        ))  # fmt: skip
    head = ("model", "features", "numbers, M", "learned, M", "MiB", "tokens a text", "texts/s", "tasks/s",
            "ms an episode", "second derivative", "vmap")  # fmt: skip
    notes = [f"{name}: {entry['absent']}." for name, entry in results["models"].items() if "absent" in entry]
    return "\n\n".join([markdown(head, rows), *(["<br>\n".join(notes)] if notes else [])])


def _millions(numbers: int) -> str:
    return "0" if not numbers else f"{numbers / 1e6:.2f}"


def main_job(results: Entries, kept: Path) -> str:
    """What the main job reached with each encoder, of the runs that are kept, and which have none."""
    runs, rows, without = list(_runs(kept)), [], []
    for name, entry in results["models"].items():
        command = f"`python train.py {' '.join(entry['words'])}`"
        mine = [run for run, config in runs if "absent" not in entry and alike(entry, config)]
        families: dict[str, list[Run]] = {}
        for run in mine:
            families.setdefault(run[0]["family"], []).append(run)
        for family in families.values():
            found = {table.target: table.rows[0] for table in tables(family)}
            seconds = found["imdb"].training_seconds
            rows.append((
                name, command, found["imdb"].label, str(len(family)), *(_score(found[each].score) for each in TARGETS),
                "–" if seconds is None else f"{seconds:,.0f}",
            ))  # fmt: skip
        if not families:
            without.append(name)
    head = ("model", "command", "learner", "seeds", "IMDb, %", "Amazon, %", "training, s")
    return markdown(head, rows, words=3) + (f"\n\nNot run on it: {'; '.join(without)}." if without else "")


def _score(score: Interval) -> str:
    return f"{score.estimate:.1f} [{score.low:.1f},\N{NO-BREAK SPACE}{score.high:.1f}]"


def _runs(folder: Path) -> Iterator[tuple[Run, Entries]]:
    """The kept runs that have both targets, each with its config."""
    for path in sorted(folder.glob("*/config.yaml")):
        run = read_run(path.parent)
        if set(TARGETS) <= set(run[0]["targets"]):
            yield run, yaml.safe_load(path.read_text())


def alike(entry: Entries, config: Entries) -> bool:
    """Whether a run of `config` has the encoder and the tokenizer that `entry` is of: where both have a key, it has the
    same value, and what `entry` has switched on the run has too; folders do not count."""
    return all(_same(entry[part], config[part]) for part in ("model", "text"))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if any(one[key] is True for key in one.keys() - other.keys()):
            return False
        return all(_same(one[key], other[key]) for key in one.keys() & other.keys() - {"cache"})
    return one == other


def write(results: Entries, page: Path, kept: Path = KEPT) -> None:
    """Rewrite the tables of `page`."""
    rewrite(page, "models", models(results))
    rewrite(page, "main_job", main_job(results, kept))
    rewrite(page, "machine", machine(results))


if __name__ == "__main__":
    write(Results(MODELS).all, PAGE)
