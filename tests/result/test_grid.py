import json

import pytest
import yaml

from metalingua.__main__ import main
from metalingua.result.grid import grid
from metalingua.result.layout import as_markdown
from metalingua.result.run import RunDirectory, RunError


@pytest.fixture
def kept(tmp_path, make_run):
    """kept(name, steps, step_size, scores) -> a done run of that learner, kept in tmp_path/runs."""

    def make(label, steps, step_size, scores, seed=0, validation=20):
        result, episodes = make_run(seed)
        result["settings"]["maml"] |= {"label": label}
        result["training"] = {"maml": {"seconds": 1.0, "history": [[i, 1.0, each] for i, each in enumerate(scores)]}}
        run = RunDirectory(tmp_path / "runs" / f"{label}{steps}{step_size}{seed}")
        run.finish(result, episodes)
        learner = {"steps": steps, "step_size": step_size}
        run.config.write_text(yaml.safe_dump({"learner": learner, "episodes": {"validation": validation}}))
        return run.path

    return make


KEYS = ["learner.step_size", "learner.steps"]


def test_each_run_is_a_cell_and_the_best_of_a_row_is_bold(kept):
    paths = [
        kept("Reptile", 2, 1.0, [0.5, 0.61]),
        kept("MAML", 2, 1.0, [0.7, 0.6]),  # its best, not its last
        kept("MAML", 5, 0.1, [0.512]),
    ]
    assert as_markdown(grid(paths, KEYS)).splitlines() == [
        "| learner | step_size 0.1, steps 5 | step_size 1, steps 2 |",
        "| --- | ---: | ---: |",
        "| MAML | 51.2 | **70.0** |",
        "| Reptile | – | **61.0** |",
        "",
        "Best mean score on meta-validation, %, of seed 0; 20 episodes a task. One run a cell, and the best of its "
        "validations: no interval, no test.<br>",
        "Run 000000000000; commit not recorded.",
    ]


def test_what_cannot_stand_in_one_table_is_refused(kept):
    one = kept("MAML", 2, 1.0, [0.7])
    with pytest.raises(RunError, match="another run of MAML has the same learner.steps"):
        grid([one, kept("MAML", 2, 0.1, [0.7])], ["learner.steps"])
    with pytest.raises(RunError, match=r"different seeds \[0, 1\]"):
        grid([one, kept("MAML", 5, 1.0, [0.7], seed=1)], KEYS)
    with pytest.raises(RunError, match=r"validation episodes \[8, 20\]"):
        grid([one, kept("MAML", 7, 1.0, [0.7], validation=8)], KEYS)
    with pytest.raises(RunError, match="learner.inner is None in its config, and not a number"):
        grid([one], ["learner.inner"])
    (one / "result.json").write_text(json.dumps({**json.loads((one / "result.json").read_text()), "training": {}}))
    with pytest.raises(RunError, match="was not meta-trained"):
        grid([one], KEYS)


def test_the_command_prints_it_or_puts_it_into_a_page(kept, tmp_path, capsys):
    kept("MAML", 2, 1.0, [0.7])
    assert main(["grid", str(tmp_path / "runs"), "--keys", *KEYS]) == 0
    printed = capsys.readouterr().out
    assert "| MAML | **70.0** |" in printed
    page = tmp_path / "README.md"
    page.write_text("<!-- table:tuning -->\n<!-- end -->\n")
    assert main(["grid", str(tmp_path / "runs"), "--keys", *KEYS, "--into", str(page), "--name", "tuning"]) == 0
    assert printed.strip() in page.read_text()
    assert main(["grid", str(tmp_path / "runs"), "--keys", "learner.steps", "--into", str(page)]) == 2
