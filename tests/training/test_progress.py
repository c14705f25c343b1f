"""What is seen, and what is asked for, while a run goes on."""

import io
import math

import pytest
import tiny
import torch
from rich.console import Console

from metalingua.training import progress
from metalingua.training.metrics import read_metrics
from metalingua.training.progress import quiet
from metalingua.training.reading import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


def test_a_line_in_a_pipe_is_never_broken(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=written, width=20))
    progress.say("[bold]word[/] " * 20)
    assert written.getvalue() == "word " * 20 + "\n"


def test_gradient_norms_are_a_switch_away(folder, caplog):
    quiet()
    words = ["logger.gradient_norms=true", "trainer.profiler=simple", "name=norms"]
    training = tiny.training(folder, *words)
    module, data = training.module, training.data
    first = [data.train_dataloader().episodes[i] for i in range(2)]
    loss = module.engine.loss(module.model, module.params, first, module.episode_loss, module.order)
    expected = torch.nn.utils.get_total_norm(torch.autograd.grad(loss, list(module.params.values())))
    training.run.path.mkdir(parents=True)
    training.trainer.fit(module, data)
    lines = [line for line in read_metrics(training.run.metrics) if "train/loss" in line]
    assert len(lines) == 12
    assert lines[0]["train/loss"] == pytest.approx(float(loss))
    assert lines[0]["grad/outer"] == pytest.approx(float(expected))
    for line in lines:
        norms = [line[f"grad/{name}"] for name in ("outer", "support_before", "support_after")]
        assert all(math.isfinite(norm) and norm > 0 for norm in norms)
        assert line["grad/support_before"] != line["grad/support_after"]
    assert "run_training_epoch" in caplog.text and "GPU available" not in caplog.text  # the profiler's report alone


def test_they_change_no_bit_and_are_off_unless_asked(folder):
    reading = read(tiny.compose(folder))
    found = {}
    for asked in ("true", "false"):
        training = tiny.training(folder, f"logger.gradient_norms={asked}", f"name=norms_{asked}", reading=reading)
        training.trainer.fit(training.module, training.data)
        found[asked] = training
    lines = read_metrics(found["false"].run.metrics)
    assert not any(name.startswith("grad/") for line in lines for name in line)
    for name, value in found["true"].module.params.items():
        assert torch.equal(value, found["false"].module.params[name])
