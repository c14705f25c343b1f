import torch
from proof import COUNTEREXAMPLE, Proof
from toy import VOCABULARY, tiny_episodes, tiny_model, tiny_params

from metalingua.learner.multi_task import MultiTask
from metalingua.training.engine import Engine, localise
from metalingua.training.module import SharedParameterModule

EPISODES = tiny_episodes("meta_test")
ENGINE = Engine(2)
MODULE = SharedParameterModule(
    encoder={
        "_target_": "metalingua.model.lstm.LstmEncoder",
        "vocabulary": VOCABULARY,
        "embedding": 5,
        "hidden": 4,
        "pooling": "mean",
    },
    heads={"classification_2": 2, "classification_3": 3, "regression": 1},
    learner={"_target_": "metalingua.learner.multi_task.MultiTask", "label": "multi-task"},
    optimizer={"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.05},
    seed=0,
    threads=2,
)


class TestMultiTask(Proof):
    learner = MultiTask("multi-task")
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


def test_the_support_set_changes_no_answer():
    model, first, other = tiny_model(), EPISODES[0], EPISODES[4]
    params = tiny_params(model)
    learner, inputs = MultiTask("multi-task"), first.query.inputs
    predictors = [learner.adapt(model, localise(model, params, first), each.support) for each in (first, other)]
    assert first.support.inputs.texts != other.support.inputs.texts
    assert torch.equal(predictors[0].outputs(inputs), predictors[1].outputs(inputs))
    assert ENGINE.judge(learner, model, params, [first])[0].moved == 0


def test_which_problem_the_support_set_poses_chooses_the_head():
    model = tiny_model()
    params = tiny_params(model)
    for index, outputs in enumerate([2, 2, 3, 1]):
        episode = EPISODES[index]
        predictor = MultiTask("multi-task").adapt(model, localise(model, params, episode), episode.support)
        assert predictor.outputs(episode.query.inputs).shape == (len(episode.query.inputs), outputs)


def test_it_trains_on_the_support_and_the_query_texts_of_all_tasks_at_once():
    assert MultiTask.training == "joint"
    batch, params = [EPISODES[i] for i in range(4)], MODULE.params

    def losses():
        with torch.no_grad():
            return [float(MODULE.episode_loss(MODULE.model, localise(MODULE.model, params, e), e)) for e in batch]

    before = losses()
    optimizer = MODULE.configure_optimizers()
    for _ in range(80):
        optimizer.zero_grad()
        MODULE.engine.loss(MODULE.model, params, batch, MODULE.episode_loss, 1).backward()
        optimizer.step()
    assert all(after < 0.4 * first for after, first in zip(losses(), before, strict=True))


def test_every_text_weighs_the_same():
    model, params = MODULE.model, tiny_params(MODULE.model)
    for index in range(4):
        episode = EPISODES[index]
        local = localise(model, params, episode)
        one_by_one = []
        for half in (episode.support, episode.query):
            outputs = model.outputs(local, half.inputs, half.problem)
            one_by_one += [half.problem.loss(o[None], t[None]) for o, t in zip(outputs, half.targets, strict=True)]
        joint = MODULE.episode_loss(model, local, episode)
        torch.testing.assert_close(joint, torch.stack(one_by_one).mean().to(joint.dtype))
