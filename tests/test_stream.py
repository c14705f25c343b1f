"""experiments/0007_applications/stream.py: what a stream gains and forgets, by hand on made-up counts."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas
import pytest

from metalingua.result.metric import METRICS

FILE = Path(__file__).parents[1] / "experiments" / "0007_applications" / "stream.py"
spec = importlib.util.spec_from_file_location("stream", FILE)
stream = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stream)

LABELS = {"meta_stream": "meta-learned", "multi_task_stream": "multi-task", "single_task": "from scratch",
          "unadapted": "0 steps", "multi_task": "as it is"}  # fmt: skip
TARGETS = ("en_ja_50", "en_ja_800", "en_de_after_50", "en_de_after_800")
FOUND = {"unadapted": (0, 0, 6, 6), "multi_task": (0, 0, 8, 8), "meta_stream": (2, 4, 5, 3),
         "multi_task_stream": (1, 3, 6, 2), "single_task": (0, 2, 0, 0)}  # n-grams right, of 10  # fmt: skip


@pytest.fixture
def run(monkeypatch):
    """Two equal episodes a target; of `right` of 10 n-grams of each order, chrF is right / 10."""
    rows = [
        {"learner": learner, "target": target, "episode": episode, "chrf": [10.0, 10.0, float(right)] * 6,
         "adapt_seconds": 0.4 if target.endswith("800") else 0.1}
        for learner, each in FOUND.items() for target, right in zip(TARGETS, each, strict=True) for episode in (0, 1)
    ]  # fmt: skip
    result = {"targets": dict.fromkeys(TARGETS), "settings": {name: {"label": label} for name, label in LABELS.items()}}
    monkeypatch.setattr(stream, "read_run", lambda path: (result, pandas.DataFrame(rows)))
    return Path("run")


def test_a_stream_begins_where_its_start_is_and_what_it_loses_is_told(run):
    frame = stream.scores(run)
    lines = {line.split("|")[1].strip(): line for line in stream.table(frame).splitlines()}
    assert lines["learner"].count("|") == 10
    assert lines["meta-learned"] == "| meta-learned | 0.0 | 20.0 | 40.0 | 60.0 | 50.0 | 30.0 | 30.0 | 0.5 |"
    assert lines["multi-task"] == "| multi-task | 0.0 | 10.0 | 30.0 | 80.0 | 60.0 | 20.0 | 60.0 | 0.5 |"
    assert (
        lines["from scratch"] == "| from scratch | 0.0 | 0.0 | 20.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.5 |"
    )  # it knew nothing
    assert np.isclose(METRICS["chrf"].per_episode([[10.0, 10.0, 2.0] * 6])[0], 0.2)


def test_the_figure_has_a_line_a_stream(run, tmp_path):
    stream.draw(stream.scores(run), tmp_path / "stream.png")
    assert (tmp_path / "stream.png").stat().st_size > 10_000
