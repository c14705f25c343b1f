"""`metalingua study table`, `report` and `compare`: what the runs that are done say."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from metalingua.error import UserError
from metalingua.study.options import outputs, planned, root


def table(options: argparse.Namespace) -> int:
    from fnmatch import fnmatchcase

    from metalingua.result.page_part import rewrite
    from metalingua.result.run import RunError, write_atomically
    from metalingua.study.study import StudyError
    from metalingua.study.tables import make, runs_of

    made, faults = planned(options), list[str]()
    chosen = [table for name, table in made.study.tables.items() if fnmatchcase(name, options.name)]
    if not chosen:
        raise StudyError(
            f"{made.study.name} has no table {options.name}; there is {', '.join(made.study.tables) or 'none'}"
        )
    told: list[str] = []
    of: list[Path] = []
    folder = outputs(options) / "studies" / made.study.name / "tables"
    for table in chosen:
        paths, notes = runs_of(made, made.study.of(table.of))
        for note in notes:
            if note not in told:
                print(f"note: {note}", file=sys.stderr)
                told.append(note)
        of += paths
        try:
            done = make(paths, table)
        except RunError as error:  # the others are made
            faults.append(str(error))
            continue
        if options.format:
            print({"markdown": done.markdown, "csv": done.csv, "latex": done.latex}[options.format], end="")
            continue
        for suffix, text in (("md", done.markdown), ("csv", done.csv), ("tex", done.latex)):
            write_atomically(folder / f"{table.name}.{suffix}", text.encode())
        for file in table.into:
            rewrite(made.study.folder / file, table.name, done.markdown)
        into = ", ".join(str((made.study.folder / file).resolve().relative_to(root())) for file in table.into)
        print(f"{table.name}: {len(paths)} runs, in {into or 'no page'}, and as md, csv and tex in {folder}")
    if options.wandb and not options.format:
        files = [folder / f"{table.name}.{suffix}" for table in chosen for suffix in ("md", "csv", "tex")]
        _send(options, made.study.name, "tables", [file for file in files if file.exists()], of)
    if faults:
        raise StudyError("\n".join(faults))
    return 0


def report(options: argparse.Namespace) -> int:
    from metalingua.result.run import write_atomically
    from metalingua.study.report import report
    from metalingua.study.tables import runs_of

    made = planned(options)
    text, notes = report(made)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    file = options.output or outputs(options) / "studies" / made.study.name / "report.html"
    write_atomically(file, text.encode())
    print(f"{file}  ({len(text) / 1e6:.1f} MB, needs no network)")
    if options.wandb:
        of = [path for table in made.study.tables.values() for path in runs_of(made, made.study.of(table.of))[0]]
        _send(options, made.study.name, "report", [file], of)
    return 0


def _send(options: argparse.Namespace, study: str, kind: str, files: Sequence[Path], runs: Iterable[Path]) -> None:
    """`files` go to W&B as an artifact that names the `runs` behind it."""
    from metalingua.result.run import read_result
    from metalingua.result.source import source
    from metalingua.result.wandb import send, wanted

    mode, _ = wanted()
    if mode == "disabled":
        raise UserError(f"--wandb: WANDB_MODE is {mode}; leave --wandb out, or set WANDB_MODE to online or offline")
    facts = source([read_result(path) for path in dict.fromkeys(runs)]).columns
    folder = outputs(options) / "studies" / study / "wandb" / kind
    try:
        send(study, files, kind, folder, facts, mode, options.wandb)
    except Exception as error:  # W&B raises many kinds
        raise UserError(f"--wandb: W&B took no {kind} ({error}); the files are there") from error
    print(f"W&B has {study}-{kind}" if mode == "online" else f"wandb sync {folder}/wandb/offline-run-*   sends {kind}")


def compare(options: argparse.Namespace) -> int:
    from metalingua.study import expected
    from metalingua.study.tables import runs_of

    made = planned(options)
    file = made.study.folder / expected.FILE
    of = {}
    for grid in made.study.grids:
        kept = sorted(path.parent for path in (made.study.folder / grid).glob("*/result.json"))
        fresh = [each.run.path for each in made.of([grid]) if each.run.done]
        paths = kept if options.kept else fresh or runs_of(made, [grid])[0]
        if paths:
            of[grid] = paths
    found, minutes = expected.numbers(of)
    if options.write:
        expected.write(file, found, minutes)
        print(f"{file}: {len(found)} numbers of {sum(map(len, of.values()))} runs, {minutes:.0f} minutes")
        return 0
    drifts = expected.compare(expected.read(file), found)
    off = [each for each in drifts if each.found and not each.within]
    missing = [each for each in drifts if each.found is None]
    for each in (*off, *missing):
        one, now = each.expected, each.found
        what = "not done" if now is None else f"found {now.value:.1f} +- {now.tolerance:.1f}"
        print(f"{'missing' if now is None else 'OFF'}: {one.grid}, {one.config}, {one.target}, {one.learner}: expected "
              f"{one.value:.1f} +- {one.tolerance:.1f}, {what}")  # fmt: skip
    print(f"{len(drifts) - len(off) - len(missing)} of {len(drifts)} numbers are as expected, {len(off)} are off, "
          f"{len(missing)} are not there")  # fmt: skip
    return 1 if off else 0
