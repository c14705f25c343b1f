"""What a learner promises, proven: a test file declares a subclass of `Proof`, and pytest runs a test a property.

    class TestMaml(Proof):
        learner = Maml("MAML", steps=2, step_size=0.4, order=2)
        lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}

What is not in `lacks` is proven. COUNTEREXAMPLE: the very same check must fail. Any other text is the reason why the
property has no meaning for the learner, and is printed as a skip.
"""

import copy
import functools
import gc
import inspect
import os
import pickle
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pair
import pytest
import pytorch_lightning as pl
import torch
from filelock import FileLock
from torch.testing import assert_close
from torch.utils.data import DataLoader
from toy import HEADS, VOCABULARY, tiny_model, tiny_params, tiny_tasks

from metalingua.learner.learner import Learner
from metalingua.model.cnn import CnnEncoder
from metalingua.model.derivative import derivatives
from metalingua.model.model import Encoder, Model
from metalingua.task.episode import Episodes
from metalingua.task.tasks import frequency
from metalingua.training.engine import Engine, localise
from metalingua.training.module import MetaLearnerModule, SharedParameterModule
from metalingua.training.stack import stacked_answers, stacked_losses

COUNTEREXAMPLE = "the same check fails"
ENGINE = Engine(2)
TASKS = tiny_tasks()
HOW = {"seed": 0, "shots": 3, "queries": 4, "label_order": "fixed",
       "frequency": frequency(TASKS, VOCABULARY), "names": True}  # fmt: skip
MANY = Episodes("meta_test", TASKS[:1], **HOW)  # films, two ways
ALL_EPISODES = Episodes("meta_test", TASKS, **HOW)
EPISODES = [ALL_EPISODES[i] for i in range(4)]  # two ways, two, three, and regression
NOT_TRAINED = "nothing of it is meta-trained: there is no meta-gradient"
NO_STEPS = "it takes no inner steps"


def proves(check):
    """A check as a test that knows what `lacks` says of it."""
    name = check.__name__.removeprefix("test_")

    @functools.wraps(check)
    def test(self):
        lack = self.lacks.get(name) or self.without_meaning(name) or self.undeclared(name)
        if lack is None:
            check(self)
        elif lack != COUNTEREXAMPLE:
            pytest.skip(lack)
        else:
            try:
                check(self)
            except AssertionError:
                return
            pytest.fail(f"{type(self).__name__}.lacks says that {name} does not hold, but it does: take it out")

    return test


class Proof:
    """One learner's promises.

    learner   an instance, or a function of nothing that makes one
    lacks     property -> COUNTEREXAMPLE, or why it has no meaning here
    zero      the same learner with no steps, if `steps=0` is not the way to say so
    fitting   the same learner with the settings that fit one episode, where those of `learner` are too gentle
    overfit_lr, overfit_steps   of Adam, at most, for a learner that fits one episode at another pace
    """

    learner: Learner
    lacks: dict[str, str] = {}
    zero: Learner | None = None
    fitting: Learner | None = None
    overfit_lr = 0.1
    overfit_steps = 80

    def __init_subclass__(cls):
        properties = [name.removeprefix("test_") for name in vars(Proof) if name.startswith("test_")]
        for name, lack in cls.lacks.items():
            if name not in properties:
                raise TypeError(f"{cls.__name__}.lacks names {name!r}, which is none of {', '.join(properties)}")
            if not lack:
                raise TypeError(f"{cls.__name__}.lacks[{name!r}] is empty: write COUNTEREXAMPLE or a reason")

    @classmethod
    def made(cls, name="learner", fit=True):
        """A new learner of the class attribute `name`, fitted to the tasks as a run fits it before anything else."""
        given = inspect.getattr_static(cls, name)
        given = given.__func__ if isinstance(given, staticmethod) else given
        learner = copy.deepcopy(given) if isinstance(given, Learner) else given()
        if fit:
            learner.fit(TASKS)
        return learner

    def unadapted(self, model, params, episode):
        """The outputs for the queries before any step, [items, outputs]: by default the model's own."""
        return model.outputs(params, episode.query.inputs, episode.query.problem)

    def without_meaning(self, name):
        """Why a property says nothing of a learner of this kind; None if it does."""
        learner = self.made(fit=False)
        if learner.training == "none" and name in ("exact_gradient", "vmap", "ddp"):
            return NOT_TRAINED
        if name == "zero_steps" and self.zero is None and "steps" not in inspect.signature(type(learner)).parameters:
            return NO_STEPS
        return None

    def undeclared(self, name):
        """COUNTEREXAMPLE if the learner itself says that it has not the property."""
        return COUNTEREXAMPLE if name == "vmap" and not self.made(fit=False).vmaps else None

    @proves
    def test_exact_gradient(self):
        """The meta-gradient is that of float64 central differences along random directions."""
        assert max(gradient_errors(self.made())) < 1e-6

    @proves
    def test_zero_steps(self):
        """Without steps it answers as `unadapted` does, and no parameter differs; with its steps both do."""
        zero = self.made("zero") if self.zero is not None else without_steps(self.made())
        model = tiny_model()
        for episode in learnable(zero):
            params = localise(model, params_of(model, zero), episode)
            before = self.unadapted(model, params, episode)
            for learner, same in ((zero, True), (self.made(), False)):
                predictor = adapted(learner, model, params, episode)
                assert torch.allclose(predictor.outputs(episode.query.inputs), before, rtol=1e-9, atol=1e-9) == same
                kept = [torch.equal(v, params[k]) for k, v in predictor.params.items() if k in params]
                assert not kept or all(kept) == same

    @proves
    def test_support_order(self):
        """The support texts in another order, and the answers are the same."""
        learner, model = self.made(), tiny_model()
        for episode in learnable(learner):
            params = localise(model, params_of(model, learner), episode)
            order = torch.randperm(len(episode.support.inputs), generator=torch.Generator().manual_seed(3))
            other = replace(episode, support=taken(episode.support, order))
            assert_close(outputs(learner, model, params, other), outputs(learner, model, params, episode),
                         rtol=1e-7, atol=1e-8)  # fmt: skip

    @proves
    def test_renaming(self):
        """The classes of the support set renamed, and the answers are renamed with them."""
        learner, model = self.made(), tiny_model()
        heads = 0 if learner.start == "scratch" else 0.5  # a fresh head prefers no class
        for episode in (EPISODES[0], EPISODES[2]):
            params = localise(model, params_of(model, learner, heads=heads), episode)
            order = torch.tensor([1, 0] if episode.support.problem.outputs == 2 else [2, 0, 1])
            names = items_of(episode.support.names, order.argsort())
            renamed = replace(episode.support, targets=order[episode.support.targets],
                              labels=order.numpy()[episode.support.targets], names=names)  # fmt: skip
            before = outputs(learner, model, params, episode)
            after = outputs(learner, model, params, replace(episode, support=renamed))
            assert_close(after[:, order], before, rtol=self.renaming_rtol, atol=self.renaming_atol)

    renaming_rtol, renaming_atol = 1e-7, 1e-8  # wider where a solver that stops early gives the answer

    @proves
    def test_any_ways(self):
        """Made for two ways, it answers with three: it needs no head trained for them."""
        learner, episode = self.made(), EPISODES[2]
        assert not learner.needs_head, "it needs a trained head of the problem"
        model = tiny_model(heads={"classification_2": 2})
        own = learner.init(model, 0)
        model = tiny_model(heads={"classification_2": 2, "classification_3": 3})
        params = {**{k: v.detach() for k, v in tiny_params(model, heads=0).items()}, **double(own)}
        found = outputs(learner, model, localise(model, params, episode), episode)
        assert found.shape == (len(episode.query.inputs), 3) and found.isfinite().all()

    @proves
    def test_pure(self):
        """Neither training nor judging writes to a parameter or to an episode."""
        learner, model = self.made(), tiny_model()
        episodes = learnable(learner)
        params = params_of(model, learner, grad=True)
        tensors = [*params.values()]
        for episode in episodes:
            halves = (episode.support, episode.query)
            tensors += [each for half in halves for each in (half.inputs.tokens, half.inputs.lengths, half.targets)]
        before = [(each.detach().clone(), each._version) for each in tensors]
        if learner.training != "none":
            engine_loss(learner, model, params, episodes)
        ENGINE.judge(learner, model, params, episodes)
        for episode in episodes:
            local = {k: v.detach() for k, v in params.items()}
            [*learner.path(model, localise(model, local, episode), episode.support)]
            # the very tensors, not rows taken from them
            outputs(learner, model, local, whole(episode))
        for now, (value, version) in zip(tensors, before, strict=True):
            assert torch.equal(now, value) and now._version == version and now.grad is None

    @proves
    def test_batch_is_loop(self):
        """The engine's batch of tasks is a plain loop over them, without threads or a table cut down."""
        learner, model = self.made(), tiny_model()
        episodes = learnable(learner)
        params = params_of(model, learner, grad=learner.training != "none")
        if learner.training == "none":
            judged = ENGINE.judge(learner, model, params, episodes)
            for episode, each in zip(episodes, judged, strict=True):
                with torch.no_grad():
                    alone = outputs(learner, model, params, whole(episode))
                assert_close(each.predictions, episode.query.problem.predictions(alone), rtol=1e-6, atol=1e-8)
            return
        batched = engine_loss(learner, model, params, episodes)
        with derivatives(learner.order):
            looped = sum(loss_of(learner)(model, params, whole(episode)) for episode in episodes) / len(episodes)
        names = list(params)
        slopes = torch.autograd.grad(looped, list(params.values()), allow_unused=True)
        slopes = [torch.zeros_like(params[k]) if s is None else s for k, s in zip(names, slopes, strict=True)]
        assert_close(batched, looped.to(batched.dtype))
        found = torch.autograd.grad(batched, list(params.values()))
        assert_close(dict(zip(names, found, strict=True)), dict(zip(names, slopes, strict=True)))

    @proves
    def test_threads(self):
        """One thread and three give the same bits."""
        learner, model = self.made(), tiny_model()
        episodes = learnable(learner) * 2
        params = params_of(model, learner, grad=True)
        found = []
        for threads in (1, 3):
            engine = Engine(threads)
            bits = [each.predictions for each in engine.judge(learner, model, params, episodes)]
            if learner.training != "none":
                loss = engine_loss(learner, model, params, episodes, engine)
                bits += [each.detach().numpy() for each in (loss, *torch.autograd.grad(loss, list(params.values())))]
            found.append(bits)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*found, strict=True))

    @proves
    def test_vmap(self):
        """Many tasks as one under torch.vmap give the losses, gradients and answers of the loop."""
        learner, model = self.made(), Model(CnnEncoder(VOCABULARY, 5, 3, [2, 3]), HEADS)
        episodes = learnable(learner) * 2
        params = params_of(model, learner, grad=True)
        try:
            losses = stacked_losses(model, params, episodes, loss_of(learner), learner.order)
            answers = stacked_answers(learner, model, params, episodes)
        except (RuntimeError, TypeError, ValueError) as error:
            raise AssertionError("it does not run under torch.vmap") from error
        slopes = torch.autograd.grad(losses.mean(), list(params.values()), allow_unused=True)
        slopes = [torch.zeros_like(p) if s is None else s for p, s in zip(params.values(), slopes, strict=True)]
        batched = engine_loss(learner, model, params, episodes)
        assert_close(losses.mean().to(batched.dtype), batched, rtol=1e-9, atol=1e-10)
        expected = torch.autograd.grad(batched, list(params.values()))
        assert_close(dict(zip(params, slopes, strict=True)), dict(zip(params, expected, strict=True)),
                     rtol=1e-7, atol=1e-10)  # fmt: skip
        for (found, _), each, episode in zip(answers, ENGINE.judge(learner, model, params, episodes), episodes,
                                             strict=True):  # fmt: skip
            assert_close(episode.query.problem.predictions(found), each.predictions, rtol=1e-9, atol=1e-9)

    @proves
    def test_ddp(self):
        """Two processes end, each, with the weights of one that meta-trains on the same episodes."""
        alone = pair.trained(self.made(), devices=1)
        for name, both in weights_of_pair()[pair.name_of(type(self))].items():
            assert_close(both[0], alone[name], rtol=1e-9, atol=1e-11)
            assert torch.equal(both[1], both[0])

    @proves
    def test_no_grad(self):
        """Lightning's validate and test, which run without grad mode, adapt as training does."""
        learner, model = self.made(), tiny_model()
        episodes = learnable(learner)
        params = params_of(model, learner)
        expected = []
        for episode in episodes:
            local, query = localise(model, params, episode), episode.query
            with torch.enable_grad():
                expected.append(query.problem.loss(outputs(learner, model, local, episode), query.targets).detach())
        module = module_of(learner, model, params)
        # a batch an episode: means of one number
        loader = DataLoader([[episode] for episode in episodes], batch_size=None)
        for call, name in (("validate", "val/loss"), ("test", "test/loss")):
            trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
                                 enable_model_summary=False, enable_progress_bar=False)  # fmt: skip
            (found,) = getattr(trainer, call)(module, loader, verbose=False)
            assert found[name] == pytest.approx(float(torch.stack(expected).mean()), rel=1e-6)

    @proves
    def test_overfits(self):
        """Meta-trained on one episode it answers all its queries; one that is not trained answers its support texts."""
        learner, episode = self.made("learner" if self.fitting is None else "fitting"), EPISODES[2]
        model = tiny_model()
        params = params_of(model, learner, torch.float32, heads=0, grad=True, noise=0)
        if learner.training == "none":
            episode = replace(episode, query=episode.support)
            assert judged(learner, model, params, [episode]) == 1
            return
        start = ENGINE.judge(learner, model, params, [episode])[0].statistics
        optimizer = torch.optim.Adam(list(params.values()), self.overfit_lr)
        for step in range(1, self.overfit_steps + 1):
            optimizer.zero_grad()
            engine_loss(learner, model, params, [episode]).backward()
            optimizer.step()
            if step % 10 == 0:
                end = ENGINE.judge(learner, model, params, [episode])[0].statistics
                if end["accuracy"] == 1 and end["loss"] < start["loss"] / 2:
                    return
        raise AssertionError(f"after {self.overfit_steps} steps it is still at {end}, from {start}")

    @proves
    def test_shuffled_chance(self):
        """Where labels say nothing of the texts it is right by chance, also after meta-training on such episodes."""
        learner, model = self.made(), small_model()
        params = params_of(model, learner, torch.float32, heads=0, grad=True, noise=0)
        if learner.training != "none":
            optimizer = torch.optim.Adam(list(params.values()), 0.03)
            for step in range(10):
                optimizer.zero_grad()
                engine_loss(learner, model, params, [meaningless(MANY[4 * step + i]) for i in range(4)]).backward()
                optimizer.step()
        accuracy = judged(learner, model, params, [meaningless(MANY[100 + i]) for i in range(60)])
        assert 0.4 < accuracy < 0.6  # half of 480 answers, give or take four standard deviations of an episode's mean

    @proves
    def test_flat_memory(self):
        """200 steps of meta-training leave no tensor, array or object behind; nor do 40 episodes that are judged."""
        learner, model = self.made(), small_model()
        params = params_of(model, learner, torch.float32, grad=True)
        episodes, engine = learnable(learner)[:2], Engine(1)
        optimizer = torch.optim.SGD(list(params.values()), 1e-4)

        def steps(count):
            for step in range(count):
                episode = episodes[step % len(episodes)]
                if learner.training == "none":
                    engine.judge(learner, model, params, [episode])
                else:
                    optimizer.zero_grad()
                    engine_loss(learner, model, params, [episode], engine).backward()
                    optimizer.step()
            return live(learner)

        gc.freeze()  # what is there before is not looked through
        try:
            start, end = steps(20), steps(180 if learner.training != "none" else 20)
        finally:
            gc.unfreeze()
        assert all(end[kind] <= start[kind] + slack for kind, slack in SLACK.items()), (start, end)

    @proves
    def test_inductive(self):
        """The answer to a text does not depend on the other texts that are asked about."""
        learner, model = self.made(), tiny_model()
        for episode in learnable(learner):
            params = localise(model, params_of(model, learner), episode)
            some = torch.arange(0, len(episode.query.inputs), 3)
            fewer = replace(episode, query=taken(episode.query, some))
            assert_close(outputs(learner, model, params, fewer), outputs(learner, model, params, episode)[some],
                         rtol=1e-9, atol=1e-9)  # fmt: skip


@functools.cache
def weights_of_pair():
    """Of all learners whose test files are imported: one pair of processes trains them all, for all workers of pytest,
    which have imported the same."""
    found = {}
    for each in subclasses(Proof):
        named = getattr(sys.modules[each.__module__], each.__name__, None) is each and hasattr(each, "learner")
        if named and "ddp" not in each.lacks and each.made(fit=False).training != "none":
            found[pair.name_of(each)] = each
    if (run := os.environ.get("PYTEST_XDIST_TESTRUNUID")) is None:
        return pair.end(*pair.start(found))
    kept = Path(tempfile.gettempdir()) / f"pair_{run}.pt"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            torch.save(pair.end(*pair.start(found)), kept)
        return torch.load(kept, weights_only=True)


def subclasses(kind):
    """All of them, and theirs."""
    return [each for one in kind.__subclasses__() for each in (one, *subclasses(one))]


def module_of(learner, model, params):
    """The Lightning module of a run, with these in place of what its configs would build."""
    nothing = {"_target_": "metalingua.learner.majority.Majority", "label": ""}
    encoder = {
        "_target_": "metalingua.model.cnn.CnnEncoder",
        "vocabulary": 2,
        "embedding": 1,
        "filters": 1,
        "widths": [1],
    }
    kind = SharedParameterModule if learner.training == "joint" else MetaLearnerModule
    module = kind(encoder, HEADS, nothing, {}, 0, 2)
    module.learner, module.model = learner, model
    named = {name.replace(".", "/"): torch.nn.Parameter(value) for name, value in params.items()}
    module.weights = torch.nn.ParameterDict(named)
    return module


class Bag(Encoder):
    """Mean of the embeddings of a text's tokens -> tanh: as small as an encoder can be."""

    rows, size, vmaps, derivatives, learns = "embedding.weight", 4, True, 2, True

    def init(self, generator):
        return {"embedding.weight": torch.randn(VOCABULARY, 4, generator=generator) * 0.1,
                "linear.weight": torch.randn(4, 4, generator=generator), "linear.bias": torch.zeros(4)}  # fmt: skip

    def features(self, params, inputs):
        real = torch.arange(inputs.tokens.shape[1]) < inputs.lengths.unsqueeze(1)
        words = params["embedding.weight"][inputs.tokens] * real.unsqueeze(2)
        return torch.nn.functional.linear(
            words.sum(1) / inputs.lengths.unsqueeze(1), params["linear.weight"], params["linear.bias"]
        ).tanh()


def small_model():
    """For what hundreds of steps show, and no encoder matters to."""
    return Model(Bag(), HEADS)


SLACK = {"tensors": 0, "objects": 100, "pickled": 1000}


def live(learner):
    """Tensors, objects that may hold others, and bytes of what the learner itself keeps."""
    gc.collect()
    objects = gc.get_objects()
    tensors = sum(issubclass(type(each), torch.Tensor) for each in objects)
    return {"tensors": tensors, "objects": len(objects), "pickled": len(pickle.dumps(vars(learner)))}


def double(params):
    return {name: value.detach().double() for name, value in params.items()}


def params_of(model, learner, dtype=torch.float64, *, heads=0.5, grad=False, noise=0.05, seed=0):
    """The model's and the learner's own parameters. `noise` takes the learner's off round numbers such as 0 and 1."""
    dice = torch.Generator().manual_seed(seed + 1)
    own = {
        name: value + noise * (0.2 + value.abs()) * torch.randn(value.shape, generator=dice, dtype=torch.float64)
        for name, value in double(learner.init(model, seed)).items()
    }  # fmt: skip
    params = {**tiny_params(model, dtype, seed, heads), **own}
    return {name: value.detach().to(dtype).requires_grad_(grad) for name, value in params.items()}


def learnable(learner):
    """Those of EPISODES that it does not refuse."""
    return [episode for episode in EPISODES if learner.refuses(episode.support.problem) is None]


def without_steps(learner):
    """The same learner with steps=0: the arguments of a constructor are kept under their names."""
    given = {name: getattr(learner, name) for name in inspect.signature(type(learner)).parameters}
    return type(learner)(**{**given, "steps": 0})


def loss_of(learner):
    """What is descended: its own loss, or for joint training that of all the episode's examples."""
    if learner.training == "joint":
        return functools.partial(SharedParameterModule.episode_loss, None)
    return learner.episode_loss


def engine_loss(learner, model, params, episodes, engine=ENGINE):
    return engine.loss(model, params, episodes, loss_of(learner), learner.order)


def adapted(learner, model, params, episode):
    """What the engine asks for."""
    return learner.adapt(model, params, episode.support, episode.query.inputs if learner.transductive else None)


def outputs(learner, model, params, episode):
    """For the queries, [items, outputs]."""
    return adapted(learner, model, params, episode).outputs(episode.query.inputs)


def judged(learner, model, params, episodes):
    """Mean accuracy."""
    return float(np.mean([each.statistics["accuracy"] for each in ENGINE.judge(learner, model, params, episodes)]))


def gradient_errors(learner):
    """Relative error of the engine's meta-gradient along four random directions, against central differences."""
    model, dice = tiny_model(), torch.Generator().manual_seed(1)
    params, episodes = params_of(model, learner, grad=True), learnable(learner)
    slopes = torch.autograd.grad(engine_loss(learner, model, params, episodes), list(params.values()))
    found = []
    for _ in range(4):
        way = [torch.randn(value.shape, dtype=value.dtype, generator=dice) for value in params.values()]

        def moved(by, way=way):
            there = {name: (params[name] + by * each).detach() for name, each in zip(params, way, strict=True)}
            return engine_loss(learner, model, there, episodes).item()

        numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5
        found.append(abs(sum(float((s * each).sum()) for s, each in zip(slopes, way, strict=True)) / numeric - 1))
    return found


def taken(half, items):
    """The examples at `items`."""
    inputs, targets, labels = items_of(half.inputs, items), half.targets[items], half.labels[items.numpy()]
    return replace(half, inputs=inputs, targets=targets, labels=labels)


def items_of(inputs, items):
    """The texts at `items`."""
    texts = tuple(inputs.texts[i] for i in items)
    return replace(inputs, tokens=inputs.tokens[items], lengths=inputs.lengths[items], texts=texts)


def whole(episode):
    """The same episode with tokens that count in the full table."""

    def wide(inputs):
        return inputs and replace(inputs, tokens=episode.rows[inputs.tokens], frequency=HOW["frequency"])

    def full(half):
        return replace(half, inputs=wide(half.inputs), names=wide(half.names))

    return replace(
        episode, rows=torch.arange(VOCABULARY), support=full(episode.support), query=full(episode.query)
    )  # fmt: skip


def meaningless(episode):
    """The episode's texts dealt anew among its places, which keep their labels: no label says anything of its text."""
    halves = (episode.support, episode.query)
    length = max(half.inputs.tokens.shape[1] for half in halves)
    tokens = torch.cat(
        [torch.nn.functional.pad(h.inputs.tokens, (0, length - h.inputs.tokens.shape[1])) for h in halves]
    )
    lengths, texts = torch.cat([h.inputs.lengths for h in halves]), sum((h.inputs.texts for h in halves), ())
    dealt = torch.randperm(len(texts), generator=torch.Generator().manual_seed(episode.index))
    cut = len(halves[0].inputs)
    support, query = (
        replace(
            half,
            inputs=replace(
                half.inputs, tokens=tokens[places], lengths=lengths[places], texts=tuple(texts[i] for i in places)
            ),
        )
        for half, places in zip(halves, (dealt[:cut], dealt[cut:]), strict=True)
    )
    return replace(episode, support=support, query=query)
