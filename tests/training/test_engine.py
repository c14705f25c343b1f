"""The engine's promise: what a plain loop over tasks would give, on any number of threads, and nothing else touched."""

from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.autograd import grad
from torch.testing import assert_close
from torch.utils.data import DataLoader
from toy import VOCABULARY, tiny_episodes, tiny_model, tiny_params, tiny_tasks

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.majority import Majority
from metalingua.learner.maml import Maml
from metalingua.model.derivative import derivatives
from metalingua.model.derivative import order as announced
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Model
from metalingua.training.engine import Engine, localise, moved

TASKS = tiny_tasks()
EPISODES = [tiny_episodes("meta_test", tasks=TASKS)[i] for i in range(8)]  # two and three ways, polarity and rating
ENGINES = {threads: Engine(threads) for threads in (1, 2, 3)}
BOTH_ORDERS = pytest.mark.parametrize("order", [1, 2])


def maml(order=2):
    return Maml("MAML", steps=2, step_size=0.4, order=order)


def engine_loss(model, params, episodes, learner, threads=2):
    return ENGINES[threads].loss(model, params, episodes, learner.episode_loss, learner.order)


def whole(episode):
    """The same episode with tokens that count in the full table."""

    def full(half):
        return replace(half, inputs=replace(half.inputs, tokens=episode.rows[half.inputs.tokens]))

    return replace(
        episode, rows=torch.arange(VOCABULARY), support=full(episode.support), query=full(episode.query)
    )  # fmt: skip


def plain_loop(model, params, episodes, learner):
    """Mean loss and its gradients, without engine, threads or a table cut down."""
    with derivatives(learner.order):
        losses = [learner.episode_loss(model, params, whole(episode)) for episode in episodes]
    loss = sum(losses) / len(losses)
    slopes = grad(loss, list(params.values()), allow_unused=True)
    return loss, [torch.zeros_like(p) if s is None else s for p, s in zip(params.values(), slopes, strict=True)]


@BOTH_ORDERS
def test_a_batch_of_tasks_equals_a_loop_over_them(order):
    """Classification with two and three ways and regression in one meta-batch."""
    model = tiny_model()
    params = tiny_params(model)
    batched, (looped, slopes) = (
        engine_loss(model, params, EPISODES, maml(order)),
        plain_loop(model, params, EPISODES, maml(order)),
    )
    assert_close(batched, looped)
    assert_close(list(grad(batched, list(params.values()))), slopes)
    assert all(slope.ne(0).any() for slope in slopes)  # every head had its task
    assert not torch.allclose(batched, engine_loss(model, params, EPISODES[:7], maml(order)))


def test_backward_adds_to_grad_what_autograd_would():
    model = tiny_model()
    params = tiny_params(model)
    loss = engine_loss(model, params, EPISODES[:4], maml())
    (loss * 3).backward()
    once = {name: value.grad.clone() for name, value in params.items()}
    assert_close([slope / 3 for slope in once.values()], plain_loop(model, params, EPISODES[:4], maml())[1])
    engine_loss(model, params, EPISODES[:4], maml()).backward()  # accumulated, as over two batches
    assert_close({name: value.grad for name, value in params.items()}, {k: v * 4 / 3 for k, v in once.items()})


@BOTH_ORDERS
def test_the_number_of_threads_changes_no_bit(order):
    model = tiny_model()
    params = tiny_params(model, torch.float32)

    def bits(threads, episodes=EPISODES):
        loss = engine_loss(model, params, episodes, maml(order), threads)
        return [loss.detach(), *grad(loss, list(params.values()))]

    def same(first, second):
        return all(map(torch.equal, first, second))

    assert all(same(bits(1), bits(threads)) for threads in (1, 2, 3, 2, 3))
    assert not same(bits(1), bits(1, EPISODES[::-1]))  # in another order the sums round otherwise: bits can tell


def test_the_number_of_threads_changes_no_judgement():
    model = tiny_model()
    params = tiny_params(model, torch.float32)
    judged = [engine.judge(maml(), model, params, EPISODES) for engine in ENGINES.values()]
    first, *others = ([(j.statistics, j.moved, j.predictions.tolist()) for j in each] for each in judged)
    assert all(other == first for other in others)
    assert len({statistics["loss"] for statistics, _, _ in first}) == len(EPISODES)


@BOTH_ORDERS
def test_the_rows_an_episode_uses_are_all_it_needs(order):
    model = tiny_model()
    params = tiny_params(model)
    assert all(len(episode.rows) < VOCABULARY - 20 for episode in EPISODES)
    few, full = (engine_loss(model, params, each, maml(order)) for each in (EPISODES, list(map(whole, EPISODES))))
    assert_close(few, full, rtol=1e-13, atol=0)
    for part, all_rows in zip(*(grad(loss, list(params.values())) for loss in (few, full)), strict=True):
        assert_close(part, all_rows, rtol=1e-12, atol=1e-15)
    slope = grad(engine_loss(model, params, EPISODES[:1], maml(order)), params[model.rows])[0]
    met = EPISODES[0].rows[1:]
    assert slope[met].ne(0).any(1).all()
    rest = torch.ones(VOCABULARY, dtype=torch.bool).index_fill(0, met, False)
    assert slope[rest].eq(0).all()  # words not met, and padding
    cut = localise(model, params, EPISODES[0])
    assert torch.equal(cut[model.rows], params[model.rows][EPISODES[0].rows])
    assert all(cut[name] is params[name] for name in params if name != model.rows)


def test_heads_that_no_task_used_get_a_gradient_of_zero():
    model = tiny_model()
    params = tiny_params(model)
    engine_loss(model, params, [EPISODES[0]], maml()).backward()
    for name, value in params.items():
        used = name.startswith(("encoder.", "head.classification_2."))
        assert value.grad.shape == value.shape and value.grad.ne(0).any() == used, name


class Asking(Learner):
    """Notes what a worker finds."""

    def __init__(self):
        self.found = []

    def adapt(self, model, params, support, query_inputs=None):
        self.found.append((torch.is_grad_enabled(), announced(), torch.get_num_threads()))
        return Predictor.of(model, params, support.problem)


def test_workers_have_the_callers_grad_mode():
    for engine in ENGINES.values():
        for outer in (True, False, True):
            with torch.set_grad_enabled(outer):
                assert engine.map(lambda episode: torch.is_grad_enabled(), EPISODES) == [outer] * 8
    assert ENGINES[3].map(lambda episode: episode.index, EPISODES) == list(range(8))  # in order


@BOTH_ORDERS
def test_workers_compute_in_the_callers_precision_and_judge_in_full(order):
    model, learner, found = tiny_model(), maml(order), []
    params = {name: value.float() for name, value in tiny_params(model).items()}
    for rough in (False, True):
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            loss = engine_loss(model, leaves, EPISODES, learner)
            judged = ENGINES[2].judge(learner, model, params, EPISODES)
        loss.backward()
        slopes = torch.cat([value.grad.flatten() for value in leaves.values()])
        found.append((loss.detach(), slopes, [each.statistics for each in judged]))
    (loss, slopes, judged), (rough_loss, rough_slopes, judged_again) = found
    assert loss != rough_loss and not torch.equal(slopes, rough_slopes)
    assert_close(rough_loss, loss, rtol=0.02, atol=0.02)
    assert torch.cosine_similarity(rough_slopes, slopes, dim=0) > 0.98
    assert str(judged) == str(judged_again)


@BOTH_ORDERS
def test_training_and_judging_tell_the_model_what_will_be_differentiated(order):
    model = tiny_model()
    params = tiny_params(model)
    for outer in (True, False):  # as in Lightning's training, and its validation
        asking = Asking()
        with torch.set_grad_enabled(outer):
            ENGINES[2].loss(model, params, EPISODES, asking.episode_loss, order)
            ENGINES[2].judge(asking, model, params, EPISODES)
        assert asking.found == [(True, order, 1)] * 8 + [(False, 1, 1)] * 8
    assert announced() == 1


def test_judging_adapts_without_grad_mode_and_by_the_call_of_training():
    model = tiny_model()
    params = tiny_params(model)
    learner = maml()
    with torch.no_grad():
        judged = ENGINES[2].judge(learner, model, params, EPISODES)
    for episode, each in zip(EPISODES, judged, strict=True):
        local, query = localise(model, params, episode), episode.query
        trained = learner.adapt(model, local, episode.support).outputs(query.inputs).detach()
        assert each.statistics["loss"] == pytest.approx(query.problem.loss(trained, query.targets).item(), rel=1e-12)
        unadapted = query.problem.loss(model.outputs(local, query.inputs, query.problem), query.targets).item()
        assert abs(each.statistics["loss"] - unadapted) > 1e-3
        assert each.predictions == pytest.approx(query.problem.predictions(trained)) and each.adapt_seconds > 0


class Keeping(LstmEncoder):
    """Frozen; knows which texts it has read."""

    learns = False

    def __init__(self):
        super().__init__(VOCABULARY, 5, 4, "mean")
        self.read = set()

    def features(self, params, inputs):
        self.read.update(inputs.texts)
        return super().features(params or self.init(torch.Generator()), inputs)


class Looking(Majority):
    """Notes which texts of its support set its model had not read when the clock began."""

    def __init__(self):
        super().__init__("")
        self.unread = []

    def adapt(self, model, params, support, query_inputs=None):
        self.unread.append(set(support.inputs.texts) - model.encoder.read)
        return super().adapt(model, params, support)


def test_who_is_judged_first_does_not_pay_for_features_that_are_kept_for_all():
    model, looking = Model(Keeping(), tiny_model().heads), Looking()
    ENGINES[1].judge(looking, model, tiny_params(model), EPISODES[:2])
    assert looking.unread == [set(), set()]


class Shell(pl.LightningModule):
    """As small as a module can be that validates with the engine."""

    def __init__(self):
        super().__init__()
        self.model = tiny_model()
        self.values = torch.nn.ParameterList(tiny_params(self.model, torch.float32).values())
        self.losses = []

    def transfer_batch_to_device(self, batch, device, index):
        return batch

    def validation_step(self, batch, index):
        params = dict(zip(tiny_params(self.model), self.values, strict=True))
        judged = ENGINES[2].judge(maml(), self.model, params, batch)
        self.losses += [each.statistics["loss"] for each in judged]


@pytest.mark.parametrize("inference_mode", [True, False])
def test_judging_adapts_inside_lightnings_validation(inference_mode):
    shell = Shell()
    trainer = pl.Trainer(accelerator="cpu", devices=1, inference_mode=inference_mode, logger=False, barebones=True)
    trainer.validate(shell, DataLoader([EPISODES], batch_size=None), verbose=False)
    params = tiny_params(shell.model, torch.float32)
    expected = [each.statistics["loss"] for each in ENGINES[2].judge(maml(), shell.model, params, EPISODES)]
    assert shell.losses == expected


@BOTH_ORDERS
def test_parameters_are_never_written(order):
    model = tiny_model()
    params = tiny_params(model)
    before = {name: (value.detach().clone(), value._version) for name, value in params.items()}
    engine_loss(model, params, EPISODES, maml(order))
    ENGINES[2].judge(maml(order), model, params, EPISODES)
    for name, value in params.items():
        assert torch.equal(value, before[name][0]) and value._version == before[name][1] and value.grad is None


def test_how_much_was_moved():
    before = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.zeros(2)}
    assert moved(before, {"a": torch.tensor([1.0, 2.5, 4.0])}) == 2
    assert moved(before, {"a": before["a"], "new": torch.zeros(2, 2)}) == 4
    assert moved(before, before) == moved(before, {}) == 0
    model = tiny_model()
    params = tiny_params(model)
    (judged, constant) = (
        ENGINES[1].judge(each, model, params, EPISODES[:1])[0] for each in (maml(), Majority("majority"))
    )
    used = EPISODES[0].support.inputs.tokens.unique()
    words = len(used[used > 0]) * params[model.rows].shape[1]
    moving = {"encoder.lstm.weight_ih", "encoder.lstm.weight_hh", "encoder.lstm.bias"}
    moving |= {"head.classification_2.weight", "head.classification_2.bias"}
    rest = sum(params[name].numel() for name in moving)
    assert judged.moved == words + rest
    assert constant.moved == 0


def test_an_error_in_a_worker_reaches_the_caller():
    class Broken(Learner):
        def adapt(self, model, params, support, query_inputs=None):
            raise ArithmeticError("a broken learner")

    model = tiny_model()
    params = tiny_params(model)
    with pytest.raises(ArithmeticError, match="a broken learner"):
        ENGINES[2].judge(Broken(), model, params, EPISODES)
    with pytest.raises(ArithmeticError, match="a broken learner"):
        engine_loss(model, params, EPISODES, Broken())
    assert len(ENGINES[2].judge(maml(), model, params, EPISODES)) == 8  # and the workers live on


def test_without_a_number_there_is_a_worker_for_every_core(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 3, 5})
    assert Engine().threads == Engine(None).threads == 3 and Engine(1).threads == 1
    with pytest.raises(ValueError, match=r"engine\.threads is 0: it must be a whole number, at least 1, or null"):
        Engine(0)


def test_gradients_of_a_batch_can_be_not_a_number_and_say_so():
    model = tiny_model()
    params = tiny_params(model)
    params["head.regression.bias"].data.fill_(np.nan)
    loss = engine_loss(model, params, EPISODES[:4], maml())
    assert loss.isnan() and engine_loss(model, params, EPISODES[:3], maml()).isfinite()
