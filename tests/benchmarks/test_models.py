"""docs/models.md: every model of conf/model has its row, and says what was measured and what the kept runs reached."""

import copy
import json
import shutil

import yaml

from benchmarks import models, models_page
from benchmarks.models_page import KEPT, MODELS, PAGE
from benchmarks.results import Results
from metalingua.error import UserError

RESULTS = json.loads(MODELS.read_text())
RUNS = models_page.ROOT / "experiments" / "0001_sentiment" / "runs"  # of the same job, with the LSTM


def rewritten(path, results=RESULTS, kept=KEPT):
    shutil.copy(PAGE, path)
    models_page.write(results, path, kept)
    return path.read_text()


def test_every_model_has_its_rows_and_its_line_of_prose(tmp_path, monkeypatch):
    names = [path.stem for path in sorted((models.CONF / "model").glob("*.yaml"))]
    assert list(dict.fromkeys(row.words[0] for row in models.rows())) == [f"model={name}" for name in names]
    assert list(RESULTS["models"]) == [row.name for row in models.rows()]
    assert all(
        entry["words"] == list(row.words) for row, entry in zip(models.rows(), RESULTS["models"].values(), strict=True)
    )
    assert all(f"\n| `{name}` | " in PAGE.read_text() for name in names)
    shutil.copytree(models.CONF, tmp_path / "conf")
    (tmp_path / "conf/model/mine.yaml").write_text("_target_: mine.Mine\n")
    monkeypatch.setattr(models, "CONF", tmp_path / "conf")
    assert "mine" in [row.name for row in models.rows()]  # so that a model without a row is seen
    assert "mine" not in RESULTS["models"]


def test_rows_of_vectors_of_tunings_and_of_what_must_be_given():
    found = {row.name: row for row in models.rows()}
    assert found["cnn, WordLlama vectors"].words == ("model=cnn", "vectors@model.vectors=wordllama")
    assert [name for name in found if name.startswith("minilm")] == [f"minilm, {each}" for each in models.TUNINGS]
    assert found["huggingface"].absent and not found["multilingual"].absent and "huggingface, lora" not in found


def test_the_shipped_page_is_that_of_the_shipped_results(tmp_path):
    assert rewritten(tmp_path / "page.md") == PAGE.read_text()
    other = copy.deepcopy(RESULTS)
    other["models"]["lstm"]["features"] += 1
    assert rewritten(tmp_path / "page.md", other) != PAGE.read_text()


def test_a_frozen_model_that_is_too_slow_is_bold_and_what_is_absent_has_its_reason():
    entry = {"words": ["model=a"], "features": 384, "numbers": 22_700_000, "learned": 0, "mib": 86.6, "tokens": 63.6,
             "texts_per_second": 1234.5, "tasks_per_second": 20.04, "episode_ms": 5.1, "second": None,
             "vmaps": False}  # fmt: skip
    more = {"learned": 2_000_000, "second": True, "vmaps": True, "tokens": None}
    told = models_page.models({"models": {"a": entry, "b": entry | more, "c": {"absent": "no such package"}}})
    row = "| a | 384 | 22.70 | 0 | 86.6 | 64 | 1,234 | 20.0 | **5.1** (<= 5.0) | – | no |"
    assert row in told and row.replace("**5.1**", "4.1") not in told
    assert "| b | 384 | 22.70 | 2.00 | 86.6 | all | 1,234 | 20.0 | 5.1 | yes | yes |" in told
    assert "| c | – | – | – | – | – | – | – | – | – | – |" in told and told.endswith("c: no such package.")


def kept(folder, *hashes, **changes):
    """Copies of kept runs whose model is `changes` away from theirs."""
    for each in hashes:
        shutil.copytree(RUNS / each, folder / each)
        config = yaml.safe_load((folder / each / "config.yaml").read_text())
        config["model"] |= changes
        (folder / each / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def rows_of(told):
    return {line.split(" | ")[0].removeprefix("| "): line for line in told.splitlines()[2:]}


def test_kept_runs_stand_in_the_row_of_their_model(tmp_path):
    one, all_four = sorted(path.name for path in RUNS.iterdir())[:1], sorted(path.name for path in RUNS.iterdir())
    found = rows_of(models_page.main_job(RESULTS, kept(tmp_path / "four", *all_four)))
    readme = (models_page.ROOT / "README.md").read_text().splitlines()
    scores = [line.split(" | ")[1] for line in readme if line.startswith("| MAML, second order | ")][:2]
    imdb, amazon = (score.replace(", ", ",\N{NO-BREAK SPACE}") for score in scores)  # as README has them
    begins = f"| lstm | `python train.py model=lstm` | MAML, second order | 4 | {imdb} | {amazon} |"
    assert found["lstm"].startswith(begins)
    assert "cnn" not in found and "lstm, WordLlama vectors" not in found
    assert "Not run on it: " in models_page.main_job(RESULTS, kept(tmp_path / "told", *one))
    assert "| 1 | " in rows_of(models_page.main_job(RESULTS, kept(tmp_path / "one", *one)))["lstm"]
    other = rows_of(models_page.main_job(RESULTS, kept(tmp_path / "other", *one, hidden=64)))
    assert "lstm" not in other  # of no row: another width


def test_folders_do_not_tell_models_apart_and_tokenizers_do():
    entry = {"model": {"_target_": "a", "cache": "x", "vectors": None}, "text": {"_target_": "word", "size": 10}}
    run = {"model": {"_target_": "a", "cache": "y", "vectors": None, "init_from": None}, "text": dict(entry["text"])}
    assert models_page.alike(entry, run)
    assert not models_page.alike({**entry, "model": {**entry["model"], "parts": True}}, run)
    for part, key, value in (("model", "_target_", "b"), ("model", "vectors", {"size": 3}), ("text", "size", 11)):
        assert not models_page.alike(entry, {**run, part: {**run[part], key: value}})


def test_a_model_that_cannot_be_had_keeps_what_was_measured_before(tmp_path, monkeypatch, capsys):
    path, page = tmp_path / "models.json", tmp_path / "page.md"
    shutil.copy(PAGE, page)
    monkeypatch.chdir(tmp_path)  # and back, whatever the benchmark does
    for name, value in (("MODELS", path), ("PAGE", page), ("main_job", None)):
        monkeypatch.setattr(models, name, value)
    entry = RESULTS["models"]["lstm"]
    monkeypatch.setattr(models, "measure", lambda row: {key: entry[key] for key in entry if key != "stamp"})
    models.main(["--only", "multilingual"])
    assert list(Results(path).all["models"]) == ["multilingual"]

    def gone(row):
        raise UserError("pip install it")

    monkeypatch.setattr(models, "measure", gone)
    models.main(["--only", "multilingual", "cnn", "--again"])
    found = Results(path).all["models"]
    assert found["multilingual"]["features"] == 128 and found["cnn"]["absent"] == "pip install it"
    assert list(found) == ["cnn", "cnn, WordLlama vectors", "multilingual"]  # as conf/model has them
    assert "multilingual: left as it was measured before, because pip install it" in capsys.readouterr().out
    assert "cnn: pip install it." in page.read_text()
