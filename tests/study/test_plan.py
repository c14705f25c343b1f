"""A plan of runs whose results are written by hand."""

import json

from metalingua.result.run import RunDirectory
from metalingua.study.missing import missing
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


def corpus(file, source="files"):
    columns = {"_target_": "metalingua.corpus.table.Columns", "text": "text", "label": "label"}
    files = {"_target_": "metalingua.corpus.files.Files", "paths": [str(file)], "columns": columns}
    return {"_target_": "metalingua.corpus.corpus.Corpus", "name": file.stem, "domain": "d", "language": "en",
            "licence": "", "citation": "", "source": source, "cache": str(file.parent), "labels": ["a", "b"],
            "files": files}  # fmt: skip


def test_files_that_are_missing_are_named_with_the_runs_that_read_them(tmp_path):
    (tmp_path / "here.csv").write_text("text,label\n")
    corpora = {name: corpus(tmp_path / f"{name}.csv") for name in ("here", "gone", "fixed", "unread")}
    first = {"corpora": corpora, "meta_train": {"x": {"corpus": "gone"}}, "meta_test": {"y": {"corpus": "here"}}}
    second = {**first, "meta_test": {"y": {"corpus": "gone", "fixed_queries": {"corpus": "fixed"}}}}
    found = missing([{"task": first}, {"task": second}])
    assert {tuple(each.corpora): each.configs for each in found.values()} == {("gone",): {0, 1}, ("fixed",): {1}}
    (gone,) = [said for said, each in found.items() if each.corpora == ["gone"]]
    assert "gone.csv: No such file" in gone and "task.corpora.NAME.files.paths=[FILE]" in gone
    second["corpora"] = {**corpora, "fixed": {**corpora["gone"], "name": "other"}}  # one file, two corpora
    assert [each.corpora for each in missing([{"task": second}]).values()] == [["gone", "fixed"]]
    assert missing([{"task": {"corpora": corpora, "meta_test": {"y": {"corpus": "here"}}}}]) == {}


def test_what_a_corpus_itself_refuses_is_told_too(tmp_path):
    task = {"corpora": {"far": corpus(tmp_path / "far.csv", source="hub")}, "meta_test": {"y": {"corpus": "far"}}}
    (said,) = missing([{"task": task}])
    assert "source is 'hub'" in said
