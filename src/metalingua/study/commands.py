"""`metalingua study COMMAND`: from a study's name to its tables."""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metalingua.study import showing
from metalingua.study.options import launching, outputs, planned, pool, root

if TYPE_CHECKING:
    from metalingua.study.plan import Plan, Planned

FORMATS = ("markdown", "csv", "latex")


def add(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the commands of a study."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, do: Callable[[argparse.Namespace], int], about: str, study: bool = True
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(do=do)
        if study:
            made.add_argument("study", metavar="STUDY", help="0001, 0001_sentiment, or a folder with a study.yaml")
        made.add_argument("--outputs", type=Path, metavar="FOLDER", help="where runs live (paths.outputs)")
        return made

    def mirrored(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--wandb",
            nargs="?",
            const="metalingua",
            metavar="PROJECT",
            help="send it to Weights & Biases as an artifact, in the group of the study's runs (metalingua)",
        )

    plan = command("plan", _plan, "compose and check every run, freeze configs and commit, say what it will cost")
    plan.add_argument("--list", action="store_true", help="every run, a line each")
    for name, do, about in (
        ("run", _run, "do what is not done, from a plan that still holds; then keep the results in the study's folder"),
        ("resume", _run, "go on with the runs that were cut"),
        ("retry", _run, "do the runs again that failed"),
    ):
        made = command(name, do, about)
        launching(made)
        made.add_argument("--only", default="*", metavar="GRID", help="pattern of grid names")
        made.set_defaults(command=name)
    command("status", _status, "how far each run is")
    table = command("table", _table, "its tables, from the runs that are done")
    table.add_argument("--run", action="store_true", help="do what is missing first")
    table.add_argument("--name", default="*", help="pattern of table names")
    table.add_argument("--format", choices=FORMATS, help="print in this format instead of writing")
    mirrored(table)
    launching(table)
    report = command("report", showing.report, "one HTML page with tables, figures and configs, that needs no network")
    report.add_argument("--output", type=Path, metavar="FILE", help="else outputs/studies/NAME/report.html")
    mirrored(report)
    compare = command(
        "compare", showing.compare, "hold the runs that are done against the numbers that the study expects"
    )
    compare.add_argument("--write", action="store_true", help="take what is done as what is expected from now on")
    compare.add_argument("--kept", action="store_true", help="of the kept runs, whatever version they are of")
    ablate = command(
        "ablate", _ablate, "change one thing at a time from a base config, and say what each is worth", study=False
    )
    ablate.add_argument("base", nargs="*", metavar="OVERRIDE", help="the base config: experiment=shuffled_labels")
    ablate.add_argument(
        "--factors", nargs="+", default=[], metavar="KEY=A,B", help="each value alone: learner.steps=1,3"
    )
    ablate.add_argument("--pairs", nargs="+", default=[], metavar="'A=1 B=2'", help="changes to be made together")
    ablate.add_argument("--seeds", default="0,1,2", help="0,1,2")
    ablate.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    ablate.add_argument("--dry", action="store_true", help="list the runs, start none")
    launching(ablate)
    search = command("search", _search, "find settings by meta-validation score: trials are ordinary runs", study=False)
    search.add_argument("study", metavar="SEARCH", help="0008, 0008_name, or a folder with a search.yaml")
    what = "freeze it; go on with it (the default); its best trials, and how to judge the winner"
    search.add_argument("what", nargs="?", choices=("plan", "run", "status"), default="run", help=what)
    launching(search)
    clean = command("clean", _clean, "delete what is not needed any more: runs of the study whose results are kept")
    clean.add_argument("--all", action="store_true", help="every run of the study in outputs, its checkpoints too")
    clean.add_argument("--yes", action="store_true", help="delete; without it, only say what would go")


def _plan(options: argparse.Namespace) -> int:
    from metalingua.study.plan import file_of, freeze

    made = planned(options)
    file = file_of(made.study, outputs(options))
    freeze(made, file)
    print(made.study.question)
    if options.list:
        for each in made.runs:
            print(f"  {each.state:<8} {each.run.path.name}  {each.grid}: {' '.join(each.words)}")
    _summary(made)
    print(f"Frozen: {file}")
    return 0


def _summary(made: "Plan") -> None:
    from metalingua.study.plan import DONE, older, why
    from metalingua.study.telling import duration

    states = Counter(each.state for each in made.runs)
    twice = made.given - len(made.runs) - len(made.waiting)
    waiting = {each.grid for each in made.waiting}
    if waiting:
        kept = sum(len(made.kept[grid]) for grid in waiting)
        print(f"{len(made.waiting)} runs start from what others learn, whose parameters are not here: they wait"
              + (f"; {kept} results of such runs are kept" if kept else ""))  # fmt: skip
    print(f"{len(made.runs)} runs" + (f" ({twice} more are the same run again)" if twice else "") + ": "
          + ", ".join(f"{count} {state}" for state, count in states.items()))  # fmt: skip
    for grid in made.study.grids:
        mine = older(made, grid)
        if mine and grid not in waiting:
            one = f"{mine[0].path.name}, {why(made, grid, mine[0])}"
            print(f"{grid}: {len(mine)} kept runs are of an earlier version of the configs, such as {one}")
    _missing([each for each in made.runs if each.state not in DONE])
    price = made.price()
    if price.runs:
        print(f"About {duration(price.seconds)} of one slot for {price.runs} to do; known from done runs of the same "
              f"grids, {price.of}")  # fmt: skip
    if price.unknown:
        grids = ", ".join(f"{grid}: {count}" for grid, count in price.unknown.items())
        count = sum(price.unknown.values())
        print(f"What {count} to do will cost is not known: no run of their grids is done ({grids})")


def _missing(runs: Sequence["Planned"]) -> None:
    from metalingua.study.missing import missing

    found = missing(each.config for each in runs)
    if found:
        stuck = set.union(*(each.configs for each in found.values()))
        print(f"{len(stuck)} of {len(runs)} to do cannot start:")
    for said, each in found.items():
        names = ", ".join(each.corpora[:3]) + (f" and {len(each.corpora) - 3} more" if len(each.corpora) > 3 else "")
        print(f"  - {said} (NAME: {names}; {len(each.configs)} run{'s' * (len(each.configs) > 1)})")


def _run(options: argparse.Namespace) -> int:
    from metalingua.study.plan import TO_DO, drift, file_of, freeze
    from metalingua.study.study import StudyError

    made = planned(options)
    file = file_of(made.study, outputs(options))
    if not file.exists():
        freeze(made, file)
    elif changed := drift(made, file):
        lines = "\n  - ".join([f"{made.study.name} is not what was planned:", *changed[:20]])
        raise StudyError(
            f"{lines}\nrun what was planned from that version, or plan anew: metalingua study plan {made.study.name}"
        )
    if not made.study.of(options.only):
        raise StudyError(f"--only {options.only} names no grid; there is {', '.join(made.study.grids)}")
    states = {"resume": ("cut",), "retry": ("failed",)}.get(options.command, (*TO_DO, "running"))
    code = 0
    while True:
        chosen = made.study.of(options.only)
        needed = {each.on.run.path for each in made.waiting if each.grid in chosen}
        todo = [each for each in made.runs
                if (each.grid in chosen and each.state in states) or each.run.path in needed]  # fmt: skip
        if not todo:
            break
        code = _launch(options, made.study.name, todo) or code
        if code or not made.waiting:
            break
        made = planned(options)  # those that waited know what they start from
    if not todo:
        print(f"Nothing to {options.command}: no run is {' or '.join(states)}")
    _keep(made)
    return code


def _keep(made: "Plan") -> None:
    """What is done of a committed version, in the study's own folder: a clone has it, and counts it as done."""
    from metalingua.result.identity import commit
    from metalingua.result.run import keep

    done = [each for each in made.runs if each.state == "done"]
    if done and len(commit()) != 40:
        print(f"{len(done)} runs are not kept in {made.study.folder}: they are of uncommitted code ({commit()})")
        return
    for each in done:
        assert each.kept is not None  # a run of a study
        keep(each.run.path, each.kept.parent)
    if done:
        print(f"{len(done)} runs kept in {made.study.folder}: commit them with the study")


def _launch(options: argparse.Namespace, group: str, todo: Sequence["Planned"]) -> int:
    from omegaconf import OmegaConf

    from metalingua.study.launch import grouped, launch
    from metalingua.study.telling import telling

    _missing(todo)
    names = telling([each.words for each in todo])
    given = []
    for name, each in zip(names, todo, strict=True):
        again = {"rerun": True} if each.state == "stale" else {}
        words = [*each.words, *grouped(each.config, group), *(["rerun=true"] if again else [])]
        if options.outputs:
            words.append(f"paths.outputs={options.outputs}")
        command = (sys.executable, str(root() / "train.py"), *words)
        given.append((name, command, OmegaConf.create({**each.config, **again})))
    outcomes = launch(pool(options), given)
    return 0 if all(each.state == "done" for each in outcomes) else 1


def _status(options: argparse.Namespace) -> int:
    from metalingua.study.pool import LOG, last_words
    from metalingua.study.telling import brief

    made = planned(options)
    print(made.study.question)
    for grid in made.study.grids:
        mine = made.of([grid])
        print(f"{grid}: " + ", ".join(f"{n} {state}" for state, n in Counter(each.state for each in mine).items()))
        for each in mine:
            log = each.run.path / LOG
            if each.state == "to do" and log.is_file():  # refused, or stopped before it wrote a status
                print(f"  started, and nothing is written: {' '.join(each.words)}: "
                      f"{brief(last_words(log.read_text(errors='replace')) or ['no word'])}\n    {log}")  # fmt: skip
            elif each.state not in ("kept", "done", "to do"):
                said = each.run.status()
                at = f", step {said['step']}" if "step" in said else ""
                why = f": {said['message']}" if said.get("message") else ""
                print(f"  {each.state}{at}: {' '.join(each.words)}{why}\n    {log}")
    _summary(made)
    return 0


def _table(options: argparse.Namespace) -> int:
    if options.run:
        options.only, options.command = "*", "run"
        if code := _run(options):
            return code
    return showing.table(options)


def _ablate(options: argparse.Namespace) -> int:
    from metalingua.check.check import check
    from metalingua.result.identity import directory, plain, reading_as_the_start
    from metalingua.result.layout import as_markdown
    from metalingua.result.run import write_atomically
    from metalingua.study.ablation import deltas, variants
    from metalingua.study.compose import composer
    from metalingua.study.plan import Planned

    todo, of = [], []
    with composer(root() / "conf") as compose:
        found = variants(compose, options.factors, options.pairs)
        seeds = [word for (word,) in compose.points([f"seed={options.seeds}"])]
        for variant in found:
            mine = []
            for seed in seeds:
                words = (*options.base, *variant.words, seed)
                cfg = compose([*words, *([f"paths.outputs={options.outputs}"] if options.outputs else [])])
                check(cfg)
                config = plain(reading_as_the_start(cfg))
                mine.append(Planned(variant.label, words, config, directory(config), None))
            of.append((variant.label, mine))
            todo += mine
    if options.dry:
        for each in todo:
            print(f"  {each.state:<8} {each.run.path}  {' '.join(each.words)}")
        return 0
    code = _launch(options, "ablation", [each for each in todo if each.state != "done"])
    text = as_markdown(deltas([(label, [each.run.path for each in mine if each.run.done]) for label, mine in of]))
    print(text, end="")
    if options.output:
        write_atomically(options.output, text.encode())
    return code


def _search(options: argparse.Namespace) -> int:
    from metalingua.study import search as searching
    from metalingua.study import trials
    from metalingua.study.compose import composer
    from metalingua.study.study import find

    at = root()
    folder = find(at, options.study, "search")
    with composer(at / "conf") as compose:
        search, question = searching.read(folder, compose, options.outputs)
        home = outputs(options) / "studies" / search.name
        file = home / searching.FROZEN
        print(question)
        if options.what == "plan" or (options.what == "run" and not file.exists()):
            searching.freeze(search, file)
            print(f"Frozen: {file}")
        elif file.exists() and (changed := searching.drift(search, file)):
            lines = "\n  - ".join([f"{search.name} is not what was planned:", *changed])
            raise searching.SearchError(
                f"{lines}\ngo on from that version, or plan anew: metalingua study search {folder.name} plan"
            )
        if options.what == "run":
            slots = pool(options)
            evaluate = trials.in_pool(search, compose, slots, at / "train.py", options.outputs)
            trials.go(search, home, slots.slots, evaluate)
        for line in trials.best(search, home):
            print(line)
    return 0


def _clean(options: argparse.Namespace) -> int:
    made = planned(options)
    gone = [each for each in made.runs if each.run.path.is_dir() and (options.all or each.state == "kept")]
    # only a run in outputs has parameters: what others start from stays
    starts = {word.partition("=@")[2] for lines in made.study.grids.values() for line in lines for word in line}
    spared = {"a process works on it": [each for each in gone if each.run.busy],
              "others start from it": [each for each in gone if each.grid in starts and not options.all]}  # fmt: skip
    for why_not, those in spared.items():
        for each in those:
            print(f"left alone, {why_not}: {each.run.path}")
    gone = [each for each in gone if not any(each in those for those in spared.values())]
    size = sum(file.stat().st_size for each in gone for file in each.run.path.rglob("*") if file.is_file())
    for each in gone:
        print(f"{'deleted' if options.yes else 'would delete'}: {each.run.path}")
        if options.yes:
            shutil.rmtree(each.run.path)
    print(f"{len(gone)} runs, {size / 1e6:.0f} MB" + ("" if options.yes or not gone else "; --yes deletes them"))
    return 0
