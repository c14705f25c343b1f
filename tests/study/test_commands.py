"""`metalingua study ...`, as a person uses it: a study of two small runs in a checkout of its own."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import tiny
import yaml

STUDY = """
question: Do small runs agree?
base: experiment=tiny corpus.cache=cache compare=null 'reference=[]'
grids:
  runs: seed=0,1
tables:
  main: {of: runs}
  side: {of: runs, kind: across, rows: [learner.steps], columns: [target.shots]}
"""
README = "# Tiny\n\n<!-- table:main -->\n<!-- end -->\n\n<!-- table:side -->\n<!-- end -->\n"


def git(folder, *words):
    given = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    subprocess.run(given, check=True, capture_output=True)


def study(folder, *words, wandb="disabled"):
    """(exit code, stdout, stderr) of `python -m metalingua study WORDS` in `folder`."""
    ran = tiny.metalingua(folder, "study", *words, WANDB_MODE=wandb)
    assert "Traceback" not in ran[2], ran[2]
    return ran


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    git(folder, "init", "-q")
    git(folder, "add", "src")
    git(folder, "commit", "-qm", "code")
    home = folder / "experiments/0001_tiny"
    home.mkdir(parents=True)
    (home / "study.yaml").write_text(STUDY)
    (home / "README.md").write_text(README)
    return folder


@pytest.fixture(scope="module")
def ran(folder):
    """The study, planned and run."""
    planned = study(folder, "plan", "0001", "--list")
    return planned, study(folder, "run", "0001", "--slots", "2")


def test_plan_then_run(folder, ran):
    (code, out, err), (run_code, run_out, run_err) = ran
    assert (code, err) == (0, "")
    assert "Do small runs agree?" in out and "2 runs: 2 to do" in out and "What 2 to do will cost is not known" in out
    assert out.count("\n  to do ") == 2 and "seed=1" in out
    frozen = json.loads((folder / "outputs/studies/0001_tiny/plan.json").read_text())
    assert len(frozen["commit"]) == 40 and [each["config"]["seed"] for each in frozen["runs"]] == [0, 1]
    assert (run_code, run_err) == (0, "")
    assert "[2/2] done" in run_out and "2 runs kept in" in run_out
    kept = sorted(path.parent.name for path in (folder / "experiments/0001_tiny/runs").glob("*/result.json"))
    assert kept == sorted(each["hash"] for each in frozen["runs"])


def test_a_second_run_has_nothing_to_do(folder, ran):
    code, out, err = study(folder, "run", "0001")
    assert (code, err) == (0, "") and "Nothing to run" in out
    assert "2 runs: 2 kept" in study(folder, "status", "0001_tiny")[1]


def test_one_command_makes_the_tables(folder, ran):
    code, out, err = study(folder, "table", "0001")
    assert (code, err) == (0, ""), err
    page = (folder / "experiments/0001_tiny/README.md").read_text()  # a row for each target, and one of costs
    assert "over 2 seeds" in page and page.count("| MAML, second order |") == 3 and "Books" in page
    tables = folder / "outputs/studies/0001_tiny/tables"
    assert {path.name for path in tables.iterdir()} == {
        f"{n}.{s}" for n in ("main", "side") for s in ("md", "csv", "tex")
    }
    assert (tables / "main.md").read_text().strip() in page
    assert r"\toprule" in (tables / "side.tex").read_text()
    assert study(folder, "table", "0001", "--name", "side", "--format", "csv")[1] == (tables / "side.csv").read_text()
    assert "there is main, side" in study(folder, "table", "0001", "--name", "other")[2]


def test_tables_go_to_wandb_as_one_artifact_in_the_group_of_the_study(folder, ran):
    refused = study(folder, "table", "0001", "--wandb")
    assert refused[0] == 2 and "--wandb: WANDB_MODE is disabled" in refused[2]
    for _ in range(2):  # the second in place of the first: a sync sends one run
        code, out, err = study(folder, "table", "0001", "--wandb", "project", wandb="offline")
        assert (code, err) == (0, ""), err
    assert "wandb sync outputs/studies/0001_tiny/wandb/tables/wandb/offline-run-*" in out
    (mirror,) = (folder / "outputs/studies/0001_tiny/wandb/tables/wandb").glob("offline-run-*/*.wandb")
    records = list(tiny.wandb_records(mirror))
    (run,) = [each.run for each in records if each.HasField("run")]
    assert (run.run_id, run.run_group, run.project) == ("0001_tiny-tables", "0001_tiny", "project")
    (artifact,) = [each.artifact for each in records if each.HasField("artifact")]
    assert (artifact.name, artifact.type) == ("0001_tiny-tables", "tables")
    assert len(json.loads(artifact.metadata)["runs"].split()) == 2


def test_from_the_kept_runs_alone(folder, ran, tmp_path):
    code, out, err = study(folder, "table", "0001", "--outputs", tmp_path, "--name", "main", "--format", "markdown")
    assert code == 0 and out == (folder / "outputs/studies/0001_tiny/tables/main.md").read_text()


def test_a_table_without_runs_keeps_no_other_from_being_made(folder, ran, tmp_path):
    given = yaml.safe_load(STUDY)
    name = next(iter(given["grids"]))
    given["grids"]["later"] = "seed=9"
    given["tables"] = {"none": {"of": "later", "into": []}, "some": {"of": name, "into": []}}
    home = tmp_path / "0002_more"
    shutil.copytree(folder / "experiments/0001_tiny", home)
    (home / "study.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    code, out, err = study(folder, "table", home, "--outputs", tmp_path)
    assert code == 2 and "table none: no run of later is done; `study run` does them" in err
    assert "some: 2 runs" in out and (tmp_path / "studies/0002_more/tables/some.md").exists()
    code, out, err = study(folder, "report", home, "--outputs", tmp_path)
    assert code == 0 and "table none is not on the page: no run of later is done" in err and "report.html" in out


def test_compare_sees_a_drift(folder, ran):
    assert "there is no" in study(folder, "compare", "0001")[2]
    assert study(folder, "compare", "0001", "--write")[0] == 0
    file = folder / "experiments/0001_tiny/expected.json"
    content = json.loads(file.read_text())
    assert content["minutes"] > 0 and {each["target"] for each in content["numbers"]} == {"books", "shops"}
    code, out, _ = study(folder, "compare", "0001")
    assert code == 0 and "2 of 2 numbers are as expected" in out
    content["numbers"][0]["value"] += 3 * content["numbers"][0]["tolerance"] + 1
    file.write_text(json.dumps(content))
    code, out, _ = study(folder, "compare", "0001")
    assert (
        code == 1
        and "OFF: runs, " in out
        and ", books, maml: expected" in out
        and "1 of 2 numbers are as expected, 1 are off" in out
    )
    file.unlink()


def test_drift_is_refused_and_explained(folder, ran):
    conf = folder / "conf/experiment/tiny.yaml"
    before = conf.read_text()
    conf.write_text(before.replace("lr: 0.05", "lr: 0.06"))
    try:
        code, _, err = study(folder, "run", "0001")
        assert code == 2 and "is not what was planned" in err and "optimizer.lr: 0.05 -> 0.06" in err
        assert "seed=1" in err and "plan anew" in err
        code, out, err = study(folder, "table", "0001", "--format", "markdown", "--name", "main")
        assert code == 0 and "over 2 seeds" in out  # of the kept runs, and it says so
        assert "2 kept runs are of an earlier version" in err and "optimizer.lr: 0.05 -> 0.06" in err
    finally:
        conf.write_text(before)


def test_clean_says_what_it_would_delete_and_deletes_what_is_kept(folder, ran, tmp_path):
    runs = list((folder / "outputs/tiny").iterdir())
    code, out, _ = study(folder, "clean", "0001")
    assert code == 0 and out.count("would delete") == len(runs) == 2 and all(each.is_dir() for each in runs)
    elsewhere = tmp_path / "outputs/tiny" / runs[0].name
    elsewhere.mkdir(parents=True)
    assert "1 runs" in study(folder, "clean", "0001", "--outputs", tmp_path / "outputs", "--yes")[1]
    assert not elsewhere.exists() and all(each.is_dir() for each in runs)


def test_clean_spares_what_others_start_from(folder, ran):
    home, runs = folder / "experiments/0009_from", list((folder / "outputs/tiny").iterdir())
    home.mkdir()
    base = yaml.safe_load(STUDY)["base"]
    grids = {"first": "seed=0", "then": "model.init_from=@first seed=1"}
    (home / "study.yaml").write_text(yaml.safe_dump({"question": "From there?", "base": base, "grids": grids}))
    try:
        (first,) = [run for run in runs if yaml.safe_load((run / "config.yaml").read_text())["seed"] == 0]
        shutil.copytree(first, home / "first" / first.name, ignore=shutil.ignore_patterns("checkpoints"))
        code, out, _ = study(folder, "clean", "0009", "--yes")
        assert code == 0 and f"left alone, others start from it: outputs/tiny/{first.name}" in out and first.is_dir()
        (home / "first" / first.name / "config.yaml").unlink()
        code, _, err = study(folder, "plan", "0009")
        assert code == 2 and "config.yaml cannot be read" in err
    finally:
        shutil.rmtree(home)


def test_an_ablation_changes_one_thing_at_a_time(folder, ran):
    base = ["experiment=tiny", "corpus.cache=cache", "compare=null", "reference=[]"]
    changes = ["--factors", "optimizer.lr=0.01,0.1", "--pairs", "optimizer.lr=0.1 steps=8"]
    words = ["ablate", *base, *changes, "--seeds", "0,1"]
    code, out, err = study(folder, *words, "--dry")
    assert (code, err) == (0, "") and len(out.splitlines()) == 8 and out.count("done ") == 2  # the base's, of the study
    words[words.index("optimizer.lr=0.01,0.1")] = "optimizer.lr=0.1"
    code, out, err = study(folder, *words[:-2], "--seeds", "0", "--slots", "2", "--output", "ablation.md")
    assert (code, err) == (0, "")
    rows = [line.split(" | ")[0] for line in out.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "| ---",
        "| as it is",
        "| optimizer.lr=0.1",
        "| optimizer.lr=0.1 steps=8",
    ]
    assert out.endswith((folder / "ablation.md").read_text())
    assert "given this seed" in out and "| – |" in out
    assert "nothing is changed" in study(folder, "ablate", *base)[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base": "experiment=nowhere"}, "Could not find 'experiment/nowhere'"),
        ({"grids": {"runs": "sead=0,1"}}, "Could not override 'sead'"),
        ({"grids": {"runs": "seed=range(2,2)"}}, "this grid has no runs"),
        ({"grids": {"runs": "seed=0,-1,-2"}}, "seed is -1"),
        ({"grids": {}}, "grids is {}"),
        ({"grids": {"runs": 3}}, "it must be what follows"),
        ({"grids": {"runs": "'seed=0"}}, "No closing quotation"),
        ({"tables": {"main": {"of": "rums"}}}, "which is no grid; there is runs"),
        ({"tables": {"main": {"of": "runs", "kind": "pie"}}}, "there is targets, across, grid"),
        ({"tables": {"main": {"of": "runs", "rows": []}}}, "a table of kind targets takes nothing more"),
        ({"grids": {"runs": "model.init_from=@pre"}}, "pre is no grid above"),
        ({"more": 1}, "it takes question, grids"),
    ],
)
def test_a_study_that_cannot_be_is_refused(folder, tmp_path, change, says):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**yaml.safe_load(STUDY), **change}))
    code, _, err = study(folder, "plan", tmp_path)
    assert code == 2 and says in err and not (tmp_path / "plan.json").exists()


def test_a_plan_says_which_files_its_runs_lack(folder, tmp_path):
    given = {**yaml.safe_load(STUDY), "grids": {"runs": "seed=0,1", "lost": "task.corpora.chat.files.paths=[lost.csv]"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(given))
    code, out, _ = study(folder, "plan", tmp_path, "--outputs", tmp_path)
    assert code == 0 and "1 of 3 to do cannot start:\n  - files.paths: lost.csv: No such file" in out
    assert "task.corpora.NAME.files.paths=[FILE]" in out and "(NAME: chat; 1 run)" in out
    code, out, _ = study(folder, "run", tmp_path, "--outputs", tmp_path, "--only", "lost")
    refused = "CorpusError: corpus chat: files.paths: lost.csv: No such file"
    assert code == 1 and "1 of 1 to do cannot start" in out and "[1/1] refused: experiment=tiny " in out
    assert refused in out
    out = study(folder, "status", tmp_path, "--outputs", tmp_path)[1]
    assert out.count("started, and nothing is written") == 1 and refused in out


def test_what_is_not_there_is_named(folder, tmp_path):
    code, _, err = study(folder, "plan", "0009")
    assert code == 2 and "no study called 0009" in err and "0001_tiny" in err
    env = {**os.environ, "PYTHONPATH": str(folder / "src")}
    ran = subprocess.run([sys.executable, "-m", "metalingua", "study", "plan", "0001"], cwd=tmp_path, env=env,
                         capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 2 and "is not in a checkout of metalingua" in ran.stderr


def test_what_a_run_starts_from_is_done_first(folder, tmp_path):
    given = yaml.safe_load(STUDY)
    given["grids"] = {"pre": "seed=7 name=pre", "after": "model.init_from=@pre seed=0"}
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump({**given, "tables": {"main": {"of": "after", "into": []}}}, sort_keys=False)
    )
    code, out, err = study(folder, "plan", tmp_path)
    assert (code, err) == (0, "") and "1 runs start from what others learn" in out and "1 runs: 1 to do" in out
    code, out, err = study(folder, "run", tmp_path, "--slots", "2", "--only", "after")
    assert (code, err) == (0, ""), err
    assert len(list((tmp_path / "after").glob("*/result.json"))) == 1
    assert json.loads(next((tmp_path / "after").glob("*/result.json")).read_text())["init_from"]["sha256"]
    code, out, _ = study(folder, "table", tmp_path, "--outputs", tmp_path / "gone", "--format", "markdown")
    assert code == 0 and "given this seed" in out  # a clone has the results, not the parameters
