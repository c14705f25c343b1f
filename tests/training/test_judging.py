"""Judging: settings chosen on meta-validation, learners fitted once, curves of whatever has steps."""

import pytest
import torch
from toy import tiny_episodes, tiny_model, tiny_params, tiny_tasks

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.maml import Maml
from metalingua.learner.minibatch import Minibatch
from metalingua.training import judging
from metalingua.training.engine import Engine
from metalingua.training.judging import CURVE_STEPS, Candidate, choose, curve, judge

MODEL, ENGINE, TASKS = tiny_model(), Engine(2), tiny_tasks()
EPISODES = [tiny_episodes("meta_test", tasks=TASKS)[i] for i in range(8)]  # two of each of four tasks
PARAMS = tiny_params(MODEL, torch.float32)
CLASSES = [episode for episode in EPISODES if episode.task != "shops_rating"]
fits = []


class Constant(Learner):
    """Answers with one class, and counts what it is given to fit to."""

    def __init__(self, label="", answer=0, tuned=None):
        self.label, self.answer, self.tuned = label, answer, tuned

    def fit(self, tasks):
        fits.append((self.answer, [task.name for task in tasks]))

    def adapt(self, model, params, support, query_inputs=None):
        row = torch.eye(support.problem.outputs)[self.answer]
        return Predictor(lambda inputs: row.expand(len(inputs), -1))


class Short(Maml):
    """Has step sizes for 3 steps, whatever it is asked for."""

    def path(self, model, params, support):
        for step, predictor in enumerate(super().path(model, params, support)):
            if step <= 3:
                yield predictor


def candidate(kind, **settings):
    return Candidate(kind.__name__, {"_target_": f"{kind.__module__}.{kind.__name__}", **settings}, PARAMS, TASKS[:2])


def test_a_learner_is_fitted_to_the_meta_training_tasks_once_for_each_of_its_settings():
    one = candidate(Constant, label="constant", tuned={"answer": [1, 0, 1]})
    chosen, score = choose(one, ENGINE, MODEL, CLASSES)
    rows, about = judge(one, chosen, ENGINE, MODEL, CLASSES)
    assert curve(one, chosen, ENGINE, MODEL, CLASSES) == {}
    assert len(rows) == len(CLASSES) and about["chosen"] == chosen == {"answer": 1}  # a tie: the first
    assert score == pytest.approx(rows["accuracy"].mean())
    names = [task.name for task in TASKS[:2]]
    # as it is configured, then each setting once: the second 1, the judging and the curve fit nothing anew
    assert fits == [(0, names), (1, names), (0, names)]


UP_TO_TEN = [steps for steps in CURVE_STEPS if steps <= 10]
MAML = {"label": "MAML", "steps": 2, "step_size": 0.1, "order": 1}


def test_a_curve_has_every_number_of_steps_and_every_task():
    found = curve(candidate(Maml, **MAML), {}, ENGINE, MODEL, EPISODES)
    assert sorted(found) == ["films", "shops_polarity", "shops_rating", "shops_three_way"]
    for target, each in found.items():
        metric = "rmse" if target == "shops_rating" else "accuracy"
        assert each["steps"] == UP_TO_TEN and len(each[metric]) == len(UP_TO_TEN)
    rows, _ = judge(candidate(Maml, **MAML), {"steps": 5}, ENGINE, MODEL, EPISODES)
    mean = rows[rows["target"] == "films"]["accuracy"].mean()
    assert found["films"]["accuracy"][CURVE_STEPS.index(5)] == pytest.approx(mean)


def test_a_curve_goes_on_to_the_steps_that_a_learner_takes():
    found = curve(candidate(Maml, **MAML), {"steps": 40}, ENGINE, MODEL, EPISODES[:1])
    assert [each["steps"] for each in found.values()] == [[*UP_TO_TEN, 30]]


def test_a_curve_ends_where_the_steps_end():
    found = curve(candidate(Short, **MAML), {}, ENGINE, MODEL, CLASSES)
    whole = curve(candidate(Maml, **MAML), {}, ENGINE, MODEL, CLASSES)
    for target, each in found.items():
        assert each["steps"] == [0, 1, 2, 3] and each["accuracy"] == whole[target]["accuracy"][:4]


class Stepless(Constant):
    def __init__(self, label="", steps=3):
        super().__init__(label)


def test_no_steps_no_curve():
    for one, settings in [
        (candidate(Stepless, steps=3), {}),  # a setting of that name, and no path
        (candidate(Maml, **{**MAML, "steps": 0}), {}),
        (candidate(Maml, **MAML), {"steps": 0}),
    ]:
        assert curve(one, settings, ENGINE, MODEL, CLASSES) == {}


def test_a_target_of_very_many_tokens_has_no_curve(monkeypatch):
    whole = curve(candidate(Maml, **MAML), {}, ENGINE, MODEL, CLASSES)
    most = {episode.task: sum(int(half.inputs.lengths.sum()) for half in (episode.support, episode.query))
            for episode in reversed(CLASSES)}  # of the first episode of each  # fmt: skip
    monkeypatch.setattr(judging, "CURVE_TOKENS", most["shops_three_way"] - 1)  # six and nine texts, nine and twelve
    assert curve(candidate(Maml, **MAML), {}, ENGINE, MODEL, CLASSES) == {
        target: found for target, found in whole.items() if target != "shops_three_way"
    }


def test_how_many_steps_is_told_where_the_learner_decides_it():
    inner = {"_target_": "metalingua.learner.inner.GradientDescent"}
    how = {"label": "", "start": "scratch", "step_size": 0.1, "batch": 2, "held_out": 0, "patience": 1, "inner": inner}
    _, about = judge(candidate(Minibatch, passes=3, **how), {}, ENGINE, MODEL, CLASSES)
    assert about["steps"] == {"films": 9, "shops_polarity": 9, "shops_three_way": 15}  # of 6 and 9 texts, 2 at a time
    assert "steps" not in judge(candidate(Maml, **MAML), {}, ENGINE, MODEL, CLASSES)[1]
