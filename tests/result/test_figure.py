import numpy
import pytest
from matplotlib.image import imread

from metalingua.result import figure
from metalingua.result.figure import adaptation, comparison
from metalingua.result.run import RunError


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, to look at what is on them."""
    seen, save = [], figure._save

    def keep(made, path):
        seen.append(made)
        save(made, path)

    monkeypatch.setattr(figure, "_save", keep)
    return seen


def test_comparison_draws_every_learner_at_its_score(tmp_path, make_run, drawn):
    run = make_run()
    comparison([run], tmp_path / "figures" / "comparison.png")
    picture = imread(tmp_path / "figures" / "comparison.png")
    assert picture.shape[1] > 900 and picture.std() > 0.01  # 150 dots an inch, and not blank
    imdb, stars = drawn[0].axes
    assert [label.get_text() for label in imdb.get_yticklabels()] == [
        "MAML, second order", "Multi-task, fine-tuned", "Single-task", "Majority class †",
    ]  # fmt: skip
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in imdb.lines if line.get_marker() == "o"}
    mine = run[1][(run[1].learner == "single_task") & (run[1].target == "imdb")].accuracy
    assert dots[2] == pytest.approx(100 * mine.mean())
    assert "chance" in {text.get_text() for text in imdb.texts} and 50 >= imdb.get_xlim()[0] > 20
    assert "chance" not in {text.get_text() for text in stars.texts}


def test_adaptation_names_each_line(tmp_path, make_run, drawn):
    result, episodes = make_run()
    result["curves"]["single_task"] = {"imdb": {"steps": [0, 5], "accuracy": [0.5, 0.8]}}  # ends where MAML ends
    adaptation((result, episodes), tmp_path / "adaptation.png")
    (axes,) = drawn[0].axes
    curves = [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_marker() != "None"]
    numpy.testing.assert_allclose(curves[0].get_ydata(), [60, 70, 80])
    heights = [text.xyann[1] for text in axes.texts if text.get_text() in ("MAML, second order", "Single-task")]
    assert len(heights) == 2 and abs(heights[0] - heights[1]) > 1  # not on top of each other
    result["curves"] = {}
    with pytest.raises(RunError, match="no accuracy by inner step"):
        adaptation((result, episodes), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
