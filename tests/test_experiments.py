"""What README and experiments/ print is what the kept runs say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from metalingua.result.page_part import rewrite
from metalingua.result.run import RunDirectory, RunError, read_result, score
from metalingua.study import expected
from metalingua.study.plan import plan
from metalingua.study.study import read
from metalingua.study.tables import make, runs_of

ROOT = Path(__file__).parents[1]
STUDIES = {path.parent.name: read(path.parent) for path in sorted(ROOT.glob("experiments/*/study.yaml"))}
TABLES = [(study, table) for study, each in STUDIES.items() for table in each.tables]


@pytest.fixture(scope="module")
def planned():
    """The plan of a study, made once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = plan(STUDIES[name], ROOT / "conf", Path("nowhere"))  # what is kept, and nothing else
        return made[name]

    return of


def _fits(runs, table):
    try:
        return bool(make(runs, table))
    except RunError:
        return False


@pytest.mark.parametrize(("study", "name"), TABLES)
def test_a_printed_table_is_the_kept_runs_table(study, name, planned, tmp_path):
    table = STUDIES[study].tables[name]
    runs, _ = runs_of(planned(study), STUDIES[study].of(table.of))
    others = runs[1:] or next(  # of a table of one run: those of another table of its kind, where these have its metric
        found for other in STUDIES[study].tables.values() if other.kind == table.kind and other.of != table.of
        if _fits(found := runs_of(planned(study), STUDIES[study].of(other.of))[0], table)
    )  # fmt: skip
    for file in table.into:
        page, copy = STUDIES[study].folder / file, tmp_path / "copy.md"
        copy.write_bytes(page.read_bytes())
        rewrite(copy, name, make(runs, table).markdown)
        assert copy.read_text() == page.read_text()
        rewrite(copy, name, make(others, table).markdown)
        assert copy.read_text() != page.read_text()


def test_no_marked_table_is_forgotten():
    pages = [ROOT / "README.md", *ROOT.glob("experiments/*/README.md"), *(ROOT / "docs").glob("*.md")]
    pages.remove(ROOT / "docs" / "performance.md")  # tests/benchmarks/test_page.py
    pages.remove(ROOT / "docs" / "models.md")  # tests/benchmarks/test_models.py
    pages.remove(ROOT / "docs" / "reliability.md")  # tests/study/torture.py: kills at random, so never twice the same
    pages.remove(ROOT / "docs" / "learners.md")  # tests/learner/test_proof.py
    pages.remove(ROOT / "experiments" / "0006_article_table" / "README.md")  # tests/test_article_table.py
    marked = [(page, name) for page in pages
              for name in re.findall(r"^<!-- table:(\w+) -->$", page.read_text(), re.MULTILINE)]  # fmt: skip
    made = [((STUDIES[study].folder / file).resolve(), name) for study, name in TABLES
            for file in STUDIES[study].tables[name].into]  # fmt: skip
    made += [(ROOT / "experiments/0007_applications/README.md", name) for name in ("summary", "full", "stream")]
    assert sorted(marked) == sorted(made)  # the last three: tests/test_applications.py


def test_every_kept_run_belongs_to_a_study(planned):
    for name, study in STUDIES.items():
        if not study.tables:  # a script of its own makes them
            continue
        folders = {path.parents[1] for path in study.folder.rglob("result.json")}
        assert {folder.relative_to(study.folder).as_posix() for folder in folders} <= set(study.grids), name
    assert len(STUDIES) == len(list(ROOT.glob("experiments/*/README.md")))


WITH_NUMBERS = [name for name, study in STUDIES.items() if study.tables]


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_what_a_study_expects_is_what_its_kept_runs_say(name):
    study = STUDIES[name]
    kept = {grid: sorted(path.parent for path in (study.folder / grid).glob("*/result.json")) for grid in study.grids}
    found, _ = expected.numbers({grid: paths for grid, paths in kept.items() if paths})
    assert expected.read(study.folder / expected.FILE) == found
    assert all(each.within for each in expected.compare(found, found))


SMALLEST = ("0002_learners", "tuning/shuffled")  # its runs take ten seconds and need corpora of the package index alone


@pytest.mark.registry
def test_the_smallest_run_that_is_shipped_gives_its_numbers_again(planned, tmp_path):
    study, grid = SMALLEST
    runs = [each for each in planned(study).of([grid]) if each.state == "kept"]
    run = min(runs, key=lambda each: read_result(each.kept)["cost"]["wall_seconds"])
    words = [*run.words, f"paths.outputs={tmp_path}", f"corpus.cache={ROOT / 'data'}", "logger=none"]
    ran = subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=600)
    if ran.returncode == 2 and "index" in ran.stderr:
        pytest.skip(f"the corpora cannot be fetched: {ran.stderr.strip().splitlines()[-1]}")
    assert ran.returncode == 0, ran.stderr
    (path,) = (each.parent for each in tmp_path.glob("*/*/result.json"))
    now, _ = expected.numbers({grid: [path]})
    keys = {each.key for each in now}
    then = [each for each in expected.read(STUDIES[study].folder / expected.FILE) if each.key in keys]
    drifts = expected.compare(then, now)
    assert len(drifts) == len(now) > 0 and all(each.within for each in drifts)
    assert score(RunDirectory(path)) == pytest.approx(score(RunDirectory(run.kept)), abs=0.02)  # 20 episodes a task
