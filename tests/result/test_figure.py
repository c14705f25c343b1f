import numpy
import pytest
from matplotlib.image import imread

from metalingua.result import figure
from metalingua.result.figure import adaptation, comparison
from metalingua.result.run import RunError
from metalingua.result.table import tables


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
    with pytest.raises(RunError, match="no score by inner step"):
        adaptation((result, episodes), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_ring_stands_where_the_steps_were_chosen(tmp_path, make_run, drawn):
    result, episodes = make_run()
    result["curves"] = {"single_task": {"imdb": {"steps": [0, 5, 10], "accuracy": [0.5, 0.8, 0.7]}}}
    for chosen, rings in (({"steps": 5}, [(5, 80)]), ({"steps": 7}, []), ({}, [])):
        result["settings"]["single_task"]["chosen"] = chosen
        adaptation((result, episodes), tmp_path / "adaptation.png")
        (axes,) = drawn[-1].axes
        found = [line for line in axes.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata()) == 1]
        assert [(line.get_xdata()[0], pytest.approx(line.get_ydata()[0])) for line in found] == rings
        assert axes.get_xlabel() == "inner steps" + " (ring: as chosen)" * bool(rings)


def test_level_lines_are_not_magnified(tmp_path, make_run, drawn):
    result, episodes = make_run()
    result["curves"] = {"single_task": {"imdb": {"steps": [0, 5], "accuracy": [0.0, 0.0]}}}
    result["targets"]["imdb"]["ways"] = None
    adaptation((result, episodes), tmp_path / "adaptation.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert high - low == pytest.approx(1, abs=1e-6)  # a point


def lines(axes):
    """Colour -> how many lines of two points or more, without the axes' own."""
    found = {}
    for line in axes.lines:
        if len(line.get_xdata()) > 1 and line.get_linestyle() == "-":
            found.setdefault(line.get_color(), []).append(line)
    return found


def names(axes):
    return {text.get_text() for text in axes.texts}


def taught(run, names, last=0.7):
    run[0]["training"] = {name: {"seconds": 9.0, "history": [[5, 1.0, 0.5], [10, 2.0, last - 0.01 * place]]}
                          for place, name in enumerate(names)}  # fmt: skip
    return run


def test_learning_is_the_mean_over_seeds_and_names_the_best(make_run):
    everyone = ["maml", "multi_task", "single_task", "majority"]
    runs = [taught(make_run(seed), everyone, last=0.7 + 0.1 * seed) for seed in range(2)]
    left, right = figure.learning(runs, names=9).axes
    (maml,) = lines(left)[figure.COLOURS[0]]
    numpy.testing.assert_allclose(maml.get_ydata(), [50, 75])
    assert maml.get_xdata().tolist() == [5, 10] and lines(right)[figure.COLOURS[0]][0].get_xdata().tolist() == [1, 2]
    assert len(names(right)) == 4
    few = figure.learning([taught(make_run(), everyone)], names=2).axes[
        1
    ]  # the best, and whom others are compared with
    assert names(few) == {"MAML, second order", "Multi-task, fine-tuned", "Single-task"}
    assert len(lines(few)[figure.GREY]) == 1
    assert figure.learning([make_run()], names=2) is None


def test_cost_names_what_nothing_beats_in_both(make_run):
    run = taught(make_run(), ["maml", "majority"])
    run[0]["reference"] = ["multi_task"]
    slow = run[1].learner == "majority"  # worst and slowest: beaten in both
    run[1].loc[slow, "adapt_seconds"] = 1.0
    table = tables([run])[0]
    left, right = figure.costs(table, names=3).axes
    assert names(left) == {"MAML, second order", "Multi-task, fine-tuned"} and left.get_xscale() == "log"
    assert names(right) == {"MAML, second order"}  # the others were not trained, or for as long and are worse
    assert "Majority class †" in names(figure.costs(table, names=4).axes[0])
    assert len(figure.costs(tables([make_run()])[0], names=4).axes) == 1  # nothing is known of training


def test_adapting_is_the_mean_over_seeds(make_run):
    runs = [make_run(seed) for seed in range(2)]
    runs[1][0]["curves"]["maml"]["imdb"]["accuracy"] = [0.6, 0.7, 0.9]
    (axes,) = figure.adapting(runs, "imdb").axes
    numpy.testing.assert_allclose(lines(axes)[figure.COLOURS[0]][0].get_ydata(), [60, 70, 85])
    assert figure.adapting(runs, "stars") is None


def test_an_svg_repeats_and_has_ids_of_its_own(make_run):
    table = tables([make_run()])[0]
    one, again, other = (figure.svg(figure.intervals(table), name, 'a "b"') for name in ("x", "x", "y"))
    assert one == again != other and 'aria-label="a &quot;b&quot;"' in one
    assert ' id="x-' in one and ' id="y-' not in one and 'xlink:href="#x-' in one
