import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from metalingua.__main__ import main
from metalingua.result.page_part import rewrite
from metalingua.result.run import Busy, RunDirectory, RunError
from metalingua.study.pool import Stopped


def run_at(path, seed=0, gain=0.1):
    """A tiny done run with two learners."""
    rows = [
        {"learner": learner, "target": "imdb", "episode": episode, "accuracy": 0.5 + 0.01 * (episode % 5) + bonus,
         "balanced_accuracy": 0.5, "rmse": float("nan"), "loss": 0.7, "adapt_seconds": 0.01, "items": 30}
        for learner, bonus in (("maml", gain + 0.01 * seed), ("single_task", 0.0)) for episode in range(10)
    ]  # fmt: skip
    cost = {"adapted_parameters": 10, "transductive": False, "peak_memory_mib": None, "chosen": {}}
    about = {"title": "IMDb", "note": "", "metric": "accuracy", "ways": 2, "shots": 5, "queries": 15, "episodes": 10}
    result = {
        "experiment": "sentiment", "hash": f"{seed:012x}", "seed": seed, "learner": "maml",
        "reference": ["single_task"],
        "settings": {"maml": {**cost, "label": "MAML"}, "single_task": {**cost, "label": "Single-task"}},
        "targets": {"imdb": about}, "curves": {}, "data": {},
    }  # fmt: skip
    run = RunDirectory(path)
    run.finish(result, pandas.DataFrame(rows))
    run.config.write_text("seed: 0\n")
    return path


def test_a_folder_means_all_its_done_runs(tmp_path, capsys):
    for seed in range(3):
        run_at(tmp_path / "runs" / str(seed), seed)
    RunDirectory(tmp_path / "runs" / "cut").set_status("interrupted")
    (tmp_path / "runs" / "notes").mkdir()  # no run at all
    (tmp_path / "runs" / "README.md").touch()
    assert main(["table", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "over 3 seeds" in shown.out and "MAML" in shown.out
    assert "left out, because it is interrupted" in shown.err and "cut" in shown.err
    assert main(["table", str(tmp_path / "runs"), str(tmp_path / "runs" / "0"), "--format", "csv"]) == 0  # once each
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["table", str(tmp_path / "runs" / "0"), "--format", "markdown"]) == 0
    assert "given this seed" in capsys.readouterr().out


def test_user_errors_are_one_message_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    RunDirectory(tmp_path / "cut").set_status("running")
    for words, says in [
        (["table", tmp_path / "nowhere"], "is no folder"),
        (["table", tmp_path / "empty"], "no done run in"),
        (["table", tmp_path / "cut"], "is running, not done"),
        (["keep", tmp_path / "cut", tmp_path / "kept"], "is running, not done"),
        (["table", run_at(tmp_path / "run"), "--into", tmp_path / "README.md"], "--name"),
        (["table", tmp_path / "run", "--into", tmp_path / "README.md", "--name", "x"], "cannot read"),
        (["table", tmp_path / "run", "--into", "x", "--name", "x", "--format", "csv"], "writes Markdown"),
    ]:
        assert main([str(word) for word in words]) == 2
        shown = capsys.readouterr()
        assert says in shown.err and "Traceback" not in shown.err and shown.out == ""
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(("error", "code"), [(Busy("come again"), 75), (Stopped(signal.SIGTERM, 1), 143)])
def test_an_error_may_have_an_exit_code_of_its_own(monkeypatch, capsys, tmp_path, error, code):
    def raising(*_):
        raise error

    monkeypatch.setattr("metalingua.result.grid.grid", raising)
    assert main(["grid", str(run_at(tmp_path / "run")), "--keys", "seed"]) == code
    assert str(error) in capsys.readouterr().err


def test_keep_then_table(tmp_path, capsys):
    assert main(["keep", str(run_at(tmp_path / "run")), str(tmp_path / "experiment" / "runs")]) == 0
    kept = Path(capsys.readouterr().out.strip())
    assert json.loads((kept / "result.json").read_text())["hash"] == kept.name
    assert main(["table", str(tmp_path / "experiment")]) == 0


def test_only_the_marked_part_is_rewritten(tmp_path):
    file = tmp_path / "README.md"
    around = "# T\r\n<!-- table:a -->{}<!-- end -->\nhé <!-- table:b -->\nkept\n<!-- end -->\n"
    file.write_bytes(around.format("\nold\n").encode())
    rewrite(file, "a", "| new |\n\n")
    assert file.read_bytes() == around.format("\n| new |\n").encode()
    rewrite(file, "a", "| new |")  # again: nothing changes
    assert file.read_bytes() == around.format("\n| new |\n").encode()


@pytest.mark.parametrize(
    "text", ["", "<!-- table:a -->\nno end", "<!-- end --><!-- table:a -->", "<!-- table:b --><!-- end -->",
             "<!-- table:a --><!-- end -->" * 2, "<!-- table:a -->\n<!-- table:b -->\n<!-- end -->"]
)  # fmt: skip
def test_unclear_markers_are_refused_and_the_file_stays(tmp_path, text):
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(RunError, match=r"<!-- table:a -->.*once"):
        rewrite(file, "a", "new")
    assert file.read_text() == text


def test_no_table_path_imports_torch(tmp_path):
    code = f"""
import sys
from metalingua.__main__ import main
import metalingua, metalingua.doctor
from metalingua.result import figure, interval, run, table
assert main(["table", {str(run_at(tmp_path / "run"))!r}]) == 0
figure.comparison([run.read_run({str(tmp_path / "run")!r})], {str(tmp_path / "c.png")!r})
heavy = {{"torch", "pytorch_lightning", "lightning", "datasets", "transformers"}}
print("heavy:", sorted(heavy & set(sys.modules)))
import {{extra}}
print("then:", sorted(heavy & set(sys.modules)))
"""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code.replace("{extra}", "datasets")], capture_output=True, text=True, env=path
    )
    assert ran.returncode == 0, ran.stderr
    assert "heavy: []" in ran.stdout
    assert "'datasets'" in ran.stdout.split("then:")[1]  # the check can fail


def test_help_is_quick():
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-X", "importtime", "-m", "metalingua", "--help"]
    ran = subprocess.run(words, capture_output=True, text=True, env=path)
    assert ran.returncode == 0 and "doctor" in ran.stdout
    loaded = {line.rsplit("|", 1)[1].strip() for line in ran.stderr.splitlines() if "|" in line}
    assert "argparse" in loaded and not loaded & {"torch", "pandas", "numpy", "scipy", "rich", "hydra", "matplotlib"}


def test_the_figure_is_of_the_same_runs(tmp_path, capsys):
    assert main(["table", str(run_at(tmp_path / "run")), "--figure", str(tmp_path / "drawn" / "it.png")]) == 0
    assert (tmp_path / "drawn" / "it.png").read_bytes().startswith(b"\x89PNG")


def test_keeping_a_run_of_uncommitted_code_warns(tmp_path, capsys):
    run = run_at(tmp_path / "run")
    for commit, warns in (("a" * 40, False), ("a" * 40 + "+" + "b" * 12, True)):
        result = json.loads((run / "result.json").read_text()) | {"commit": commit}
        (run / "result.json").write_text(json.dumps(result))
        assert main(["keep", str(run), str(tmp_path / "kept")]) == 0
        assert ("uncommitted code" in capsys.readouterr().err) == warns
