"""A plan of runs whose results are written by hand."""

import json

from metalingua.result.run import RunDirectory
from metalingua.study.plan import Plan, Planned, Price
from metalingua.study.study import Study


def run(folder, grid, name, seconds=None):
    """A run of `grid`, kept if it took `seconds`, else to do."""
    kept = folder / grid / name
    if seconds is not None:
        kept.mkdir(parents=True)
        result = {"settings": {}, "learner": "maml", "targets": {}, "hash": name, "cost": {"wall_seconds": seconds}}
        (kept / "result.json").write_text(json.dumps(result))
    return Planned(grid, (name,), {}, RunDirectory(folder / "outputs" / name), kept)


def test_a_grid_is_priced_by_its_own_runs_alone(tmp_path):
    runs = [run(tmp_path, "small", "a", 10), run(tmp_path, "small", "b", 20), run(tmp_path, "small", "c"),
            run(tmp_path, "small", "d"), run(tmp_path, "full/large", "e"), run(tmp_path, "done", "f", 7)]  # fmt: skip
    made = Plan(Study(tmp_path, "?", (), {}, {}), runs=runs)
    assert made.price() == Price(seconds=30, runs=2, of=2, unknown={"full/large": 1})  # not 45, of small runs
    made.runs.append(run(tmp_path, "full/large", "g", 4000))
    assert made.price() == Price(seconds=4030, runs=3, of=3, unknown={})
    assert Plan(made.study, runs=[runs[0]]).price() == Price(0, 0, 0, {})
