"""Runs that differ in a few settings: what each reached on meta-validation."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metalingua.result.layout import Cell, Grid, number
from metalingua.result.run import RunError, read_run
from metalingua.result.source import source


def grid(paths: Sequence[Path], keys: Sequence[str]) -> Grid:
    """A table: a row a learner, a column for each combination of values of `keys`, in each the best mean
    meta-validation score of the run's meta-training, %. Bold: the best of a row; a dash: no such run.

    paths   done or kept runs, one for each learner and combination; no test score is read
    keys    of the config: "learner.step_size", "optimizer.lr"
    """
    rows: dict[str, dict[tuple[Any, ...], float]] = defaultdict(dict)
    episodes, seeds, results = set(), set(), []
    for path in paths:
        result, label, values, score, facts = _found(path, keys)
        results.append(result)
        if values in rows[label]:
            raise RunError(f"{path}: another run of {label} has the same {', '.join(keys)}; keep one of them")
        rows[label][values] = score
        episodes.add(facts[0])
        seeds.add(facts[1])
    if len(episodes) > 1 or len(seeds) > 1:
        raise RunError(f"runs of different seeds {sorted(seeds)} or numbers of validation episodes {sorted(episodes)}")
    columns = sorted({values for row in rows.values() for values in row})
    names = [key.rpartition(".")[2] for key in keys]
    head = [", ".join(f"{name} {value:g}" for name, value in zip(names, values, strict=True)) for values in columns]
    lines = []
    for label, row in sorted(rows.items()):
        best = max(row.values())
        cells = [Cell(number(100 * row[each], 1), row[each], row[each] == best) if each in row else Cell("–")
                 for each in columns]  # fmt: skip
        lines.append([Cell(label), *cells])
    note = f"Best mean score on meta-validation, %, of seed {seeds.pop()}; {episodes.pop()} episodes a task."
    note += " One run a cell, and the best of its validations: no interval, no test."
    return Grid("", "", ["learner", *head], lines, [note, source(results).line])


def _found(path: Path, keys: Sequence[str]) -> tuple[Mapping[str, Any], str, tuple[Any, ...], float, tuple[int, int]]:
    """Result, label, values of `keys`, best validation score; validation episodes a task and seed."""
    from omegaconf import OmegaConf

    result, _ = read_run(path)
    try:
        config: Any = OmegaConf.load(path / "config.yaml")
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'config.yaml'} cannot be read: {error}") from error
    name, values = result["learner"], tuple(OmegaConf.select(config, key) for key in keys)
    for key, value in zip(keys, values, strict=True):
        if not isinstance(value, (int, float)):
            raise RunError(f"{path}: {key} is {value} in its config, and not a number")
    history = result["training"].get(name, {}).get("history")
    if not history:
        raise RunError(f"{path}: {name} was not meta-trained in this run, so it has no validation to compare")
    label, score = result["settings"][name]["label"], max(score for _, _, score in history)
    return result, label, values, score, (config["episodes"]["validation"], result["seed"])
