"""`python -m metalingua`: looks at results and at the environment, and uses what a run learned. Only `export` and
`predict` import torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metalingua.error import UserError
from metalingua.study.commands import add as study_commands

if TYPE_CHECKING:
    from metalingua.result.layout import Grid

FORMATS = ("terminal", "markdown", "csv", "latex")


def main(words: Sequence[str] | None = None) -> int:
    """Do what `words` ask for and return the exit code: 0, 1 for an unhealthy environment; a UserError's own, or 2."""
    options = _parser().parse_args(words)
    try:
        return options.do(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return getattr(error, "exit_code", 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="metalingua", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="versions, Hydra plugins, corpora, W&B mode, devices, space")
    doctor.set_defaults(do=_doctor)

    table = commands.add_parser("table", help="one table per target, from one run or several seeds")
    table.add_argument("runs", nargs="+", type=Path, metavar="RUN_OR_FOLDER", help="a run, or a folder of runs")
    table.add_argument("--format", choices=FORMATS, default="terminal")
    table.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="rewrite what stands in FILE between <!-- table:NAME --> and <!-- end -->",
    )
    table.add_argument("--name", help="NAME of the part that --into rewrites")
    table.add_argument("--figure", type=Path, metavar="FILE", help="draw the same comparison to FILE, a PNG")
    table.add_argument(
        "--at-cost",
        choices=("seconds", "flops"),
        help="in its place: what each learner had reached on meta-validation at the cost of the cheapest (Markdown)",
    )
    table.set_defaults(do=_table)

    grid = commands.add_parser("grid", help="what runs that differ in a few settings reached on meta-validation")
    grid.add_argument("runs", nargs="+", type=Path, metavar="RUN_OR_FOLDER", help="a run, or a folder of runs")
    grid.add_argument("--keys", nargs="+", required=True, metavar="KEY", help="of the config: learner.steps")
    grid.add_argument("--into", type=Path, metavar="FILE", help="as of `table`")
    grid.add_argument("--name", help="as of `table`")
    grid.set_defaults(do=_grid)

    across = commands.add_parser("across", help="runs of several models, tasks or settings side by side, test accuracy")
    across.add_argument("runs", nargs="+", type=Path, metavar="RUN_OR_FOLDER", help="a run, or a folder of runs")
    across.add_argument("--rows", nargs="*", default=[], metavar="KEY", help="of the config, before a learner's label")
    across.add_argument(
        "--columns", nargs="*", default=[], metavar="KEY", help="of the config, or of the target: target.shots"
    )
    across.add_argument("--over", nargs="+", default=["seed"], metavar="KEY", help="what repeats a cell: seed, classes")
    across.add_argument("--minus", metavar="ROW", help="differences to this row, paired")
    across.add_argument("--mean", action="store_true", help="the mean over a run's targets")
    across.add_argument("--learners", nargs="+", default=[], metavar="NAME", help="of the runs' settings; else all")
    across.add_argument("--metric", metavar="NAME", help="one beside the targets' own, such as balanced_accuracy")
    across.add_argument("--into", type=Path, metavar="FILE", help="as of `table`")
    across.add_argument("--name", help="as of `table`")
    across.set_defaults(do=_across)

    keep = commands.add_parser("keep", help="copy what a done run found, without weights, to FOLDER/HASH")
    keep.add_argument("run", type=Path, metavar="RUN")
    keep.add_argument("folder", type=Path, metavar="FOLDER")
    keep.set_defaults(do=_keep)

    export = commands.add_parser("export", help="write a done run's encoder to FOLDER, for transformers' AutoModel")
    export.add_argument("run", type=Path, metavar="RUN")
    export.add_argument("folder", type=Path, metavar="FOLDER")
    export.set_defaults(do=_export)

    study = commands.add_parser(
        "study", help="many runs: plan, run, status, resume, retry, table, report, compare, ..."
    )
    study_commands(study)

    predict = commands.add_parser("predict", help="adapt what a run learned to labelled texts, and label other texts")
    predict.add_argument("run", type=Path, metavar="RUN", help="a done run, or a file that an estimator's save wrote")
    predict.add_argument("texts", metavar="TEXTS", help="a file of UTF-8 texts, a text a line; -: the standard input")
    predict.add_argument(
        "--support", type=Path, metavar="FILE", help="labelled texts to adapt to: csv, tsv, jsonl or parquet"
    )
    predict.add_argument("--text-column", default="text", metavar="NAME", help="of --support (text)")
    predict.add_argument("--label-column", default="label", metavar="NAME", help="of --support (label)")
    predict.add_argument("--learner", metavar="NAME", help="of the run's table, in place of its own")
    predict.add_argument("--ratings", action="store_true", help="labels are numbers on the run's scale of ratings")
    predict.add_argument("--order", nargs="+", metavar="LABEL", help="the labels as the trained head has its classes")
    predict.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="of what is written (csv)")
    predict.add_argument("--output", type=Path, metavar="FILE", help="in place of the standard output")
    predict.set_defaults(do=_predict)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    from metalingua.doctor import examine

    return examine(Path.cwd())


def _table(options: argparse.Namespace) -> int:
    from metalingua.result.printed import csv, latex, markdown, terminal, terminal_cost
    from metalingua.result.run import read_run
    from metalingua.result.table import tables

    if options.into and options.format in ("csv", "latex"):
        raise UserError(
            f"--into writes Markdown; leave out --format {options.format}, or redirect the output to a file"
        )
    if options.at_cost:
        from metalingua.result.equal_cost import equal_cost
        from metalingua.result.run import read_result

        return _put(options, equal_cost([read_result(path) for path in _done(options)], options.at_cost))
    runs = [read_run(path) for path in _done(options)]
    made = tables(runs)
    if options.figure:
        from metalingua.result.figure import comparison

        comparison(runs, options.figure)
    if options.into:
        from metalingua.result.page_part import rewrite

        rewrite(options.into, options.name, markdown(made))
    elif options.format == "terminal":
        from rich.console import Console

        console = Console()
        if not console.is_terminal:  # a pipe has no width; the tables are made for 100 columns
            console = Console(width=100)
        for table in made:
            console.print(terminal(table), "")
        console.print(terminal_cost(made), "")
    else:
        print({"markdown": markdown, "csv": csv, "latex": latex}[options.format](made), end="")
    return 0


def _grid(options: argparse.Namespace) -> int:
    from metalingua.result.grid import grid

    return _put(options, grid(_done(options), options.keys))


def _across(options: argparse.Namespace) -> int:
    from metalingua.result.across import across

    how = {key: getattr(options, key) for key in ("rows", "columns", "over", "minus", "mean", "learners", "metric")}
    return _put(options, across(_done(options), **how))


def _put(options: argparse.Namespace, made: "Grid") -> int:
    from metalingua.result.layout import as_markdown

    if options.into:
        from metalingua.result.page_part import rewrite

        rewrite(options.into, options.name, as_markdown(made))
    else:
        print(as_markdown(made), end="")
    return 0


def _done(options: argparse.Namespace) -> list[Path]:
    """The done runs of `options.runs`; of those that are not, a line each on stderr."""
    from metalingua.result.run import RunError

    if (options.into is None) != (options.name is None):
        raise UserError("--into FILE and --name NAME go together: NAME says which part of FILE to rewrite")
    found, unfinished = _runs(options.runs)
    for path, state in unfinished:
        print(f"left out, because it is {state}: {path}", file=sys.stderr)
    if not found:
        raise RunError(f"no done run in {', '.join(map(str, options.runs))}; name a run directory or a folder of them")
    return found


def _runs(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """(done runs, [(unfinished run, its state)]) of `paths`: each a run, a folder of runs, or one whose runs/ holds
    them. A run named itself is always among the first, so that reading it says what it lacks."""
    from metalingua.result.run import RunDirectory, RunError

    done: dict[Path, None] = {}
    unfinished = []
    for path in paths:
        if not path.is_dir():
            raise RunError(f"{path} is no folder; name a run directory or a folder of them")
        if (path / "result.json").exists() or (path / "status.json").exists():
            done[path] = None
            continue
        folder = path / "runs" if (path / "runs").is_dir() else path
        for inner in sorted(folder.iterdir()):
            state = RunDirectory(inner).status().get("state") if inner.is_dir() else None
            if state not in (None, "done"):
                unfinished.append((inner, state))
            elif (inner / "result.json").exists():
                done[inner] = None
    return list(done), unfinished


def _keep(options: argparse.Namespace) -> int:
    from metalingua.result.run import keep, read_run

    commit = read_run(options.run)[0].get("commit") or ""
    if len(commit) != 40:  # train.py writes a checksum of the sources behind it, or alone
        print(
            f"warning: {options.run} is of uncommitted code ({commit}): nobody else can make it again", file=sys.stderr
        )
    print(keep(options.run, options.folder))
    return 0


def _export(options: argparse.Namespace) -> int:
    from metalingua.training.export import export

    print(*export(options.run, options.folder), sep="\n")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from metalingua.predict import predict

    how = {key: value for key, value in vars(options).items() if key not in ("do", "run", "texts")}
    return predict(options.run, options.texts, **how)


if __name__ == "__main__":
    sys.exit(main())
