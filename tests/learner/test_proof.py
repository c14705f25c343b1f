"""Each check is seen to fail: a small broken learner for every property. And no learner is without its proof."""

import inspect
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import get_class
from pair import imported
from proof import COUNTEREXAMPLE, Proof, taken
from table import PAGE, table

from metalingua.learner.descent import descent, stepping
from metalingua.learner.inner import GRADIENT_DESCENT
from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.maml import Maml

HERE = Path(__file__).parent
PROPERTIES = [name.removeprefix("test_") for name in vars(Proof) if name.startswith("test_")]
HOW = {"label": "", "steps": 2, "step_size": 0.4}


class Prototypes(Learner):
    """Sound: nearest class means, moved by one step of descent on an offset that starts at zero."""

    training = "meta"
    order = 2
    vmaps = True

    def __init__(self, steps=1):
        self.steps = steps

    def adapt(self, model, params, support, query_inputs=None):
        codes = support.problem.codes(support.targets).to(next(iter(params.values())))
        weights = codes / codes.abs().sum(0)

        def outputs(inputs, offset):
            near = model.features(params, inputs) @ (weights.T @ model.features(params, support.inputs)).T
            return near + offset["offset"]

        start = {"offset": codes.new_zeros(support.problem.outputs)}
        loss = lambda offset: support.problem.loss(outputs(support.inputs, offset), support.targets)  # noqa: E731
        *_, last = descent(loss, start, stepping(GRADIENT_DESCENT, 0.1), steps=self.steps, order=2)
        return Predictor(lambda inputs: outputs(inputs, last), last)


class TestPrototypes(Proof):
    learner = Prototypes()
    overfit_steps = 200

    def unadapted(self, model, params, episode):
        return Prototypes(steps=0).adapt(model, params, episode.support).outputs(episode.query.inputs)


class Eager(Maml):
    def path(self, model, params, support):
        return Maml("", self.steps + 1, self.step_size, 2).path(model, params, support)


class HalfBlind(Maml):
    def path(self, model, params, support):
        return super().path(model, params, taken(support, torch.arange(0, len(support.inputs), 2)))


class TwoWays(Prototypes):
    def adapt(self, model, params, support, query_inputs=None):
        inner = super().adapt(model, params, support)
        return Predictor(lambda inputs: inner.outputs(inputs)[:, :2])


class Writes(Maml):
    def adapt(self, model, params, support, query_inputs=None):
        params["encoder.lstm.bias"].data.mul_(1.001)
        return super().adapt(model, params, support)


class Counts(Maml):
    """Every episode weighs more than the one before, in this process."""

    seen = 0

    def episode_loss(self, model, params, episode):
        self.seen += 1
        return super().episode_loss(model, params, episode) * self.seen


class Draws(Maml):
    def adapt(self, model, params, support, query_inputs=None):
        inner = super().adapt(model, params, support)
        return Predictor(lambda inputs: inner.outputs(inputs) * (1 + torch.rand(())), inner.params)


class Looks(Maml):
    def episode_loss(self, model, params, episode):
        loss = super().episode_loss(model, params, episode)
        return loss if loss.item() > 0 else -loss


class OnlyTrains(Maml):
    def adapt(self, model, params, support, query_inputs=None):
        if torch.is_grad_enabled():
            return super().adapt(model, params, support)
        return Predictor.of(model, params, support.problem)


class Deaf(Maml):
    def episode_loss(self, model, params, episode):
        return super().episode_loss(model, params, episode) * 0


class ByPlace(Learner):
    """Queries come class by class: that is enough to know their labels, and nothing that a learner may know."""

    training = "meta"

    def adapt(self, model, params, support, query_inputs=None):
        def outputs(inputs):
            place = torch.arange(len(inputs)) * support.problem.outputs // len(inputs)
            one_hot = torch.nn.functional.one_hot(place, support.problem.outputs)
            return one_hot + 0 * model.features(params, inputs).sum(1, keepdim=True)

        return Predictor(outputs)


class Remembers(Maml):
    def __init__(self, **how):
        super().__init__(**how)
        self.losses = []

    def episode_loss(self, model, params, episode):
        self.losses.append(super().episode_loss(model, params, episode))
        return self.losses[-1] * 1


class Compares(Maml):
    """Its answers sum to zero over the texts that are asked about together."""

    def adapt(self, model, params, support, query_inputs=None):
        inner = super().adapt(model, params, support)
        return Predictor(lambda inputs: inner.outputs(inputs) - inner.outputs(inputs).mean(0), inner.params)


class Ranked(Proof):  # of the module: the pair of processes finds it
    learner = Counts(**HOW, order=1)


BROKEN = {
    "exact_gradient": Maml(**HOW, order=1),
    "zero_steps": Eager(**HOW, order=2),
    "support_order": HalfBlind(**HOW, order=2),
    "renaming": Maml(**HOW, order=2),
    "any_ways": TwoWays(),
    "pure": Writes(**HOW, order=2),
    "batch_is_loop": Counts(**HOW, order=2),
    "threads": Draws(**HOW, order=1),
    "vmap": Looks(**HOW, order=2),
    "ddp": None,
    "no_grad": OnlyTrains(**HOW, order=2),
    "overfits": Deaf(**HOW, order=1),
    "shuffled_chance": ByPlace(),
    "flat_memory": Remembers(**HOW, order=1),
    "inductive": Compares(**HOW, order=2),
}


def declared(given, missing=None):
    class Declared(Proof):
        learner = given
        lacks = missing or {}

    return Declared()


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_check_fails_for_a_learner_that_is_broken(name):
    proof = Ranked() if name == "ddp" else declared(BROKEN[name])
    with pytest.raises(AssertionError):
        getattr(proof, f"test_{name}")()


def test_a_counterexample_that_holds_is_refused():
    declared(Maml(**HOW, order=1), {"exact_gradient": COUNTEREXAMPLE}).test_exact_gradient()
    with pytest.raises(pytest.fail.Exception, match="says that inductive does not hold, but it does: take it out"):
        declared(Maml(**HOW, order=1), {"inductive": COUNTEREXAMPLE}).test_inductive()
    with pytest.raises(pytest.skip.Exception, match="because"):
        declared(BROKEN["inductive"], {"inductive": "because"}).test_inductive()


def test_who_can_be_stacked_says_so():
    silent = Maml(**HOW, order=2)
    silent.vmaps = False
    with pytest.raises(pytest.fail.Exception, match="vmap"):
        declared(silent).test_vmap()


@pytest.mark.parametrize("missing", [{"exact": COUNTEREXAMPLE}, {"pure": ""}])
def test_a_declaration_that_says_nothing_is_refused(missing):
    with pytest.raises(TypeError, match=r"exact_gradient, zero_steps, .*|empty: write COUNTEREXAMPLE or a reason"):
        declared(Maml(**HOW, order=1), missing)


def test_every_learner_of_the_configs_has_its_proof():
    proven = set()
    for path in sorted(HERE.glob("test_*.py")):
        for name, value in vars(imported(path)).items():
            if inspect.isclass(value) and issubclass(value, Proof) and name.startswith("Test"):
                proven.add(type(value.made(fit=False)))
    for path in sorted((HERE.parents[1] / "conf/learner").glob("*.yaml")):
        target = targeted(path)
        assert get_class(target) in proven, f"{path.name}: no test file declares class TestX(Proof) with a {target}"


def test_the_page_says_what_is_proven():
    page = PAGE.read_text()
    assert f"<!-- table:proofs -->\n{table().rstrip()}\n<!-- end -->" in page


def targeted(path):
    """The `_target_` of a yaml, or of the one that it extends."""
    config = yaml.safe_load(path.read_text())
    return config.get("_target_") or targeted(path.with_name(f"{config['defaults'][0]}.yaml"))
