import subprocess
from pathlib import Path

import pytest

from metalingua import doctor
from metalingua.doctor import Finding, corpora, devices, plugins, versions, wandb_mode


def marks(findings):
    return {finding.what: finding.mark for finding in findings}


def test_pins_against_what_is_installed(tmp_path):
    from importlib.metadata import version

    pins = tmp_path / "requirements.txt"
    pins.write_text(f"# pins\nnumpy=={version('numpy')}  # arrays\nrich==0.0.1\nno-such-thing==1.0\n-e .\n"
                    "tomli==1; python_version < '3.0'\n")  # fmt: skip
    found = marks(versions(pins))
    assert (
        found[f"rich {version('rich')}"] == found["no-such-thing"] == "broken" and found["1 packages as pinned"] == "ok"
    )
    pins.write_text(f"numpy=={version('numpy')}\n")
    assert "broken" not in marks(versions(pins)).values()
    assert marks(versions(tmp_path / "none.txt"))["requirements.txt"] == "broken"


def test_a_local_version_label_agrees_with_its_pin(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert "broken" not in marks(versions(tmp_path / "requirements.txt")).values()
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "2.13.1")
    assert marks(versions(tmp_path / "requirements.txt"))["torch 2.13.1"] == "broken"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x = 1", None),
        ("import no_such_thing_at_all", "ModuleNotFoundError"),
        ("class A: x: list = field()", "NameError"),
        ("import os; os._exit(7)", "exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_broken_hydra_plugin_is_named_and_its_crash_contained(tmp_path, monkeypatch, body, says):
    folder = tmp_path / "hydra_plugins" / "strange"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "plugin.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = [finding for finding in plugins() if finding.mark == "broken"]
    if says is None:
        assert not broken and "hydra_plugins.strange.plugin" in plugins()[0].what
    else:
        assert [finding.what for finding in broken] == ["hydra_plugins.strange.plugin"]
        assert says in broken[0].detail and "uninstall" in broken[0].detail


def test_corpora_present_missing_ones_own_and_broken(tmp_path, monkeypatch):
    (tmp_path / "strange.py").write_text(
        "class Corpus:\n"
        "    def __init__(self, source, cache, here, path=None): self.source, self.here = source, here\n"
        "    def present(self): return self.here\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    start = "_target_: strange.Corpus\nsource: ${corpus.source}\ncache: ${corpus.cache}\n"
    for name, rest in {"a": "here: true", "b": "here: false", "c": "here: true\npath: ???", "d": "her: true"}.items():
        (tmp_path / f"{name}.yaml").write_text(start + rest)
    found = corpora(tmp_path)
    assert marks(found) == {"a": "ok", "b": "note", "c": "ok", "d": "broken"}
    assert "give path" in found[2].detail and "d.yaml" in found[3].detail
    assert corpora(tmp_path / "none")[0].mark == "broken"


@pytest.mark.parametrize(
    ("environment", "entry", "mode"),
    [
        ({}, "", "offline"),
        ({"WANDB_API_KEY": "x"}, "", "online"),
        ({"WANDB_API_KEY": "x", "WANDB_MODE": "disabled"}, "", "disabled"),
        ({}, "machine api.wandb.ai login user password x", "online"),
        ({}, "machine elsewhere.example login user password x", "offline"),
        ({"WANDB_BASE_URL": "https://w.example/"}, "machine api.wandb.ai login user password x", "offline"),
        ({"WANDB_BASE_URL": "https://w.example/"}, "machine w.example login user password x", "online"),
        ({}, "nonsense nonsense", "offline"),
    ],
)
def test_wandb_mode(tmp_path, environment, entry, mode):
    if entry:
        (tmp_path / ".netrc").write_text(entry + "\n")
        (tmp_path / ".netrc").chmod(0o600)
    found = wandb_mode(environment, tmp_path)
    assert found.what == mode and "password x" not in found.detail


def test_a_torch_that_cannot_be_imported_is_broken(monkeypatch):
    def answer(code, out=0, err=""):
        return lambda _: subprocess.CompletedProcess([], code, out, err)

    said = '{"version": "2.13.0", "threads": 2, "cuda": ["A card"], "mps": false, "native": true}\n'
    monkeypatch.setattr(doctor, "_python", answer(0, said))
    assert marks(devices()) == {"cpu": "ok", "C compiler": "ok", "cuda:0": "ok"}
    monkeypatch.setattr(doctor, "_python", answer(0, said.replace("true", "false")))
    assert marks(devices())["no C compiler"] == "note"
    monkeypatch.setattr(doctor, "_python", answer(1, "", "Traceback\nImportError: no torch here"))
    assert devices()[0].mark == "broken" and "no torch here" in devices()[0].detail


def test_one_broken_thing_makes_the_exit_code_1(monkeypatch, capsys):
    for part in ("versions", "plugins", "corpora", "wandb_mode", "devices", "space"):
        one = Finding("note", part)
        monkeypatch.setattr(doctor, part, lambda *_, one=one, part=part: one if part == "wandb_mode" else [one])
    assert doctor.examine(Path()) == 0 and "healthy" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "devices", lambda: [Finding("broken", "torch", "[brackets] stay")])
    assert doctor.examine(Path()) == 1
    shown = capsys.readouterr().out
    assert "something is broken" in shown and "[brackets] stay" in shown
