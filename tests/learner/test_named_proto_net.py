import math
from dataclasses import replace

import pytest
import torch
from given import given, texts
from proof import EPISODES, Proof, params_of
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params, tiny_tasks

from metalingua.error import UserError
from metalingua.learner.named_proto_net import WORTH, NamedProtoNet
from metalingua.learner.proto_net import ProtoNet
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.task.episode import Episodes
from metalingua.training.engine import localise

LEARNER = NamedProtoNet("named", 1.0)


class TestNamedProtoNet(Proof):
    learner = LEARNER


class Nameless(NamedProtoNet):
    """Broken on purpose: the names stay where they are when the classes are renamed."""

    def adapt(self, model, params, support, query_inputs=None):
        order = [support.names.texts.index(name) for name in sorted(support.names.texts)]
        names = replace(support.names, tokens=support.names.tokens[order], lengths=support.names.lengths[order])
        return super().adapt(model, params, replace(support, names=names), query_inputs)


def test_names_that_stay_where_they_are_are_seen():
    class Broken(Proof):
        learner = Nameless("broken", 1.0)

    with pytest.raises(AssertionError):
        Broken().test_renaming()
    Broken().test_support_order()  # it is that alone which is broken


# two texts of class 0, one of class 1; then the names of both; then a text to tell
ROWS = [[0.0, 0], [2, 0], [0, 4]], [[4.0, 0], [0, 0]], [[1.0, 1]]


def by_hand(targets=(0, 0, 1), names=(3, 4), worth=1.0):
    support, named, query = ROWS
    model, params, examples, _ = given([*support, *named], [*targets, 0, 0], query)
    names_of = {3: texts(3, 1), 4: texts(4, 1)}
    tokens = torch.cat([names_of[each].tokens for each in names])
    called = replace(texts(3, 2), tokens=tokens)
    inputs = texts(0, 3)
    examples = replace(examples, inputs=inputs, targets=torch.tensor(targets), names=called)
    params[WORTH] = torch.tensor(math.log(worth), dtype=torch.float64)
    predictor = LEARNER.adapt(model, params, examples)
    return predictor.params["prototypes"], predictor.outputs(texts(5, 1))


def test_a_name_is_worth_w_texts_by_hand():
    prototypes, outputs = by_hand()
    assert_close(prototypes, torch.tensor([[2.0, 0], [0, 2]]).double())  # (0 + 2 + 4) / 3, and (4 + 0) / 2
    assert_close(outputs, torch.tensor([[-2.0, -2]]).double())
    assert_close(by_hand(worth=2.0)[0], torch.tensor([[2.5, 0], [0, 4 / 3]]).double())  # (2 + 8) / 4, and 4 / 3
    assert_close(by_hand(worth=1e-12)[0], torch.tensor([[1.0, 0], [0, 4]]).double())  # ProtoNet's
    assert_close(by_hand(worth=1e12)[0], torch.tensor([[4.0, 0], [0, 0]]).double())  # the names alone


def test_names_move_with_their_classes_by_hand():
    (prototypes, outputs), (swapped, answers) = by_hand(worth=2.0), by_hand((1, 1, 0), (4, 3), worth=2.0)
    assert_close(swapped, prototypes.flip(0))
    assert_close(answers, outputs.flip(1))
    stayed, _ = by_hand((1, 1, 0), worth=2.0)  # the labels are swapped and the names are not
    assert not torch.allclose(stayed, prototypes.flip(0))


@pytest.mark.parametrize("task", [0, 2])
def test_a_shuffled_label_order_permutes_the_answers_alone(task):
    """The same texts with labels in the task's order and in another one: every text keeps its class."""
    model = tiny_model()
    params = params_of(model, LEARNER)
    how = {"seed": 1, "shots": 3, "queries": 4, "names": True}
    moved = 0
    for i in range(8):
        episode = Episodes("meta_test", tiny_tasks()[task : task + 1], **how, label_order="shuffled")[i]
        meaning = [episode.support.labels[episode.support.targets == k][0] for k in episode.support.targets.unique()]
        order = torch.tensor(meaning).argsort()  # of the episode's labels, in the task's order
        fixed = replace(episode, support=_in_order(episode.support, order))
        mine = localise(model, params, episode)
        found, expected = (
            LEARNER.adapt(model, mine, each.support).outputs(each.query.inputs) for each in (episode, fixed)
        )
        assert_close(found[:, order], expected)
        assert fixed.support.names.texts == tiny_tasks()[task].names
        moved += not torch.equal(order, torch.arange(len(order)))
    assert moved


def _in_order(support, order):
    names = support.names
    called = replace(
        names, tokens=names.tokens[order], lengths=names.lengths[order], texts=tuple(names.texts[i] for i in order)
    )
    return replace(support, targets=order.argsort()[support.targets], names=called)


def test_the_weight_is_learned_and_starts_at_one_text():
    assert LEARNER.init(tiny_model(), 0)[WORTH].exp() == 1
    assert_close(NamedProtoNet("", 3.0).init(tiny_model(), 0)[WORTH].exp(), torch.tensor(3.0))
    with pytest.raises(ValueError, match=r"learner\.worth is 0: it must be .*above 0"):
        NamedProtoNet("", 0)


def test_without_its_weight_it_is_proto_net():
    model, episode = tiny_model(), EPISODES[2]
    params = localise(model, {**tiny_params(model), WORTH: torch.tensor(-40.0).double()}, episode)
    found, known = (
        each.adapt(model, params, episode.support).outputs(episode.query.inputs) for each in (LEARNER, ProtoNet(""))
    )
    assert_close(found, known)
    more = LEARNER.adapt(model, {**params, WORTH: torch.tensor(0.0).double()}, episode.support)
    assert not torch.allclose(more.outputs(episode.query.inputs), known)


def test_ratings_and_episodes_without_names_are_refused_with_a_way_out():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
    model, silent = tiny_model(), tiny_episodes("meta_test")[0]
    with pytest.raises(UserError, match=r"this episode does not say: .*names=True.*learner=proto_net"):
        LEARNER.adapt(model, localise(model, params_of(model, LEARNER), silent), silent.support)
