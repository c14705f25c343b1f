"""Weights & Biases as a mirror of the run directory."""

import json
import logging

import pytest
import tiny

from metalingua.training.metrics import read_metrics

STEP = "metalingua.training.module:SharedParameterModule.training_step"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def test_offline_is_one_folder_with_history_tables_and_figures(folder, no_key):
    words = ["logger=wandb", "compare=null", "reference=[]", f"paths.outputs={folder}/mirrored"]  # auto, and no key
    code, _, err = tiny.train(folder, *words, trap=tiny.at(STEP, 8, tiny.KILL))
    assert code < 0
    env = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}  # whoever asks the network fails
    code, out, err = tiny.train(folder, *words, **env)
    assert (code, err) == (0, ""), err
    assert "wandb" not in out.lower()
    (run,) = tiny.runs(folder / "mirrored").values()

    def folders():
        return [path for path in (run / "wandb").iterdir() if path.is_dir() and not path.is_symlink()]

    (mirror,) = folders()
    assert mirror.name.endswith(f"-{run.name}") and (mirror / f"run-{run.name}.wandb").exists()
    media = [path.relative_to(mirror / "files/media").parts[:2] for path in (mirror / "files/media").rglob("*.*")]
    assert {("table", "table"), ("images", "figure")} <= set(media)
    content = (mirror / f"run-{run.name}.wandb").read_bytes()
    for name in (b"train/loss", b"val/score", b"table/", b"figure/"):
        assert name in content
    tiny.train(folder, *words, "rerun=true")
    assert len(folders()) == 1


def test_a_crash_of_wandb_is_told_and_the_run_is_done(folder, no_key, monkeypatch, caplog):
    import wandb

    from metalingua.training.run import execute

    def crash(**_):
        raise RuntimeError("no service")

    monkeypatch.setattr(wandb, "init", crash)
    words = ["logger=wandb", "learner=majority", "~learner.tuned", "compare=null", "reference=[]", "name=crash"]
    with caplog.at_level(logging.WARNING):
        run = execute(tiny.compose(folder, *words))
    assert run.done
    assert "W&B took no copy of the run (no service)" in caplog.text


def test_a_run_that_trained_nothing_has_no_lines(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]


def test_disabled_makes_nothing(folder):
    from metalingua.training.run import execute

    words = ["learner=majority", "~learner.tuned", "compare=null", "reference=[]", "name=silent"]
    run = execute(tiny.compose(folder, *words))  # logger=none
    assert run.done and not (run.path / "wandb").exists()
    assert list(json.loads(run.result.read_text())["settings"]) == ["majority"]


def test_auto_follows_the_key(no_key, monkeypatch):
    from metalingua.training.mirror import Wandb

    assert Wandb("auto", "p").mode == "offline"
    assert Wandb("auto", "p").live(None) == []
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert Wandb("auto", "p").mode == "online"
    assert Wandb("disabled", "p").mode == "disabled"


@pytest.mark.parametrize(("said", "mode"), [("disabled", "disabled"), ("offline", "offline"), ("dryrun", "offline"),
                                            ("online", "online"), ("onlin", "offline")])  # fmt: skip
def test_what_the_environment_says_goes_before_a_key(no_key, monkeypatch, said, mode):
    from metalingua.training.mirror import Wandb

    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_MODE", said)
    assert Wandb("auto", "p").mode == mode
    assert Wandb("offline", "p").mode == "offline"  # logger.mode is this run's own word


def test_tensorboard_has_the_scalars_of_training(folder):
    words = ["logger=tensorboard", "compare=null", "reference=[]", f"paths.outputs={folder}/board"]
    code, _, err = tiny.train(folder, *words)
    assert (code, err) == (0, ""), err
    (run,) = tiny.runs(folder / "board").values()
    (events,) = (run / "tensorboard").glob("events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes() and b"val/score" in events.read_bytes()
    assert not (run / "wandb").exists()
    code, _, _ = tiny.train(folder, *words, "logger=none", f"paths.outputs={folder}/bare")
    assert code == 0 and not list(folder.glob("bare/*/*/tensorboard"))


def test_offline_a_failed_run_has_a_record_that_the_finished_one_replaces(folder, no_key):
    words = ["logger=wandb", "compare=null", "reference=[]", f"paths.outputs={folder}/failed"]
    assert tiny.train(folder, *words, trap=tiny.at(STEP, 8, tiny.bug))[0] == 1

    def ended():
        (file,) = folder.glob("failed/tiny/*/wandb/offline-run-*/*.wandb")
        records = list(tiny.wandb_records(file))
        steps = [item.value_json for each in records for item in each.history.item if item.nested_key == ["_step"]]
        return [each.exit.exit_code for each in records if each.HasField("exit")], steps

    codes, steps = ended()
    assert codes == [1] and steps == [str(step) for step in range(1, 8)]
    assert tiny.train(folder, *words)[0] == 0
    codes, steps = ended()
    assert codes == [0] and "12" in steps


def test_a_failed_run_is_told_to_wandb_and_nothing_else_is(monkeypatch):
    import wandb

    from metalingua.training.mirror import Wandb

    told = []
    monkeypatch.setattr(wandb, "finish", lambda exit_code: told.append(exit_code))
    mirror = Wandb("online", "metalingua")
    mirror.failed(None, {})
    assert told == []  # it follows no run
    monkeypatch.setattr(wandb, "run", object())
    mirror.failed(None, {})
    assert told == [1]
