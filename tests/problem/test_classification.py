import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from metalingua.problem.classification import Classification

THREE = Classification(3)
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5], [0.2, 0.1, 0.3], [1.0, 3.0, 0.0]], dtype=torch.float64)
TRUTH = torch.tensor([0, 2, 2, 0])


def test_the_loss_counts_every_class_by_hand():
    """The article's formula has y log p alone, which two-class logits of the wrong class never pay for."""
    by_hand = 0.0
    for logits, label in zip(LOGITS.tolist(), TRUTH.tolist(), strict=True):
        by_hand += math.log(sum(math.exp(z) for z in logits)) - logits[label]
    assert_close(THREE.loss(LOGITS, TRUTH), torch.tensor(by_hand / 4, dtype=torch.float64))
    assert THREE.loss(torch.zeros(5, 3), torch.arange(5) % 3) == pytest.approx(math.log(3))


def test_a_confident_error_is_finite_and_dear():
    loss = THREE.loss(torch.tensor([[0.0, 500.0, 0.0]]), torch.tensor([0]))
    assert loss.isfinite() and loss > 400
    assert THREE.loss(torch.tensor([[500.0, 0.0, 0.0]]), torch.tensor([0])) < 1e-6


def test_predictions_take_the_likeliest_and_the_first_on_ties():
    assert THREE.predictions(LOGITS).tolist() == [0, 1, 2, 1]
    assert THREE.predictions(torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])).tolist() == [0, 1]


def test_targets_are_class_indices():
    targets = THREE.targets(np.array([2, 0, 1]))
    assert targets.tolist() == [2, 0, 1] and targets.dtype == torch.int64
    assert THREE.predictions(torch.eye(3)[targets]).tolist() == [2, 0, 1]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(ValueError, match=r"labels run from .* 3 ways take 0 to 2"):
        THREE.targets(np.array([1, label]))


def test_statistics_by_hand():
    found = THREE.statistics(LOGITS, TRUTH)  # predicted 0 1 2 1, true 0 2 2 0
    assert found["accuracy"] == found["score"] == 0.5
    assert found["balanced_accuracy"] == 0.5
    assert found["loss"] == pytest.approx(float(THREE.loss(LOGITS, TRUTH)))
    assert all(type(value) is float for value in found.values())


def test_balanced_accuracy_gives_every_class_the_same_weight():
    always_zero = torch.tensor([[1.0, 0.0, 0.0]]).expand(10, -1)
    found = THREE.statistics(always_zero, torch.tensor([0] * 8 + [1, 2]))
    assert found["accuracy"] == 0.8
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)


def test_the_best_answer_without_the_text_is_the_relative_frequency():
    targets = torch.tensor([0, 0, 0, 1, 1, 2])
    constant = THREE.constant(targets)
    assert_close(constant.exp(), torch.tensor([[3 / 6, 2 / 6, 1 / 6]]))
    best = THREE.loss(constant.expand(6, -1), targets)
    for nudge in torch.eye(3) * 0.1:
        assert THREE.loss((constant + nudge).expand(6, -1), targets) > best


def test_a_class_that_was_not_met_is_unlikely_and_not_impossible():
    constant = THREE.constant(torch.tensor([0, 0, 1, 1]))
    assert_close(constant.exp(), torch.tensor([[0.5, 0.5, 0.125]]))
    assert THREE.loss(constant, torch.tensor([2])).isfinite()


def test_the_number_of_ways_names_the_head():
    assert (THREE.name, THREE.outputs) == ("classification_3", 3)
    assert Classification(2).name != THREE.name


def test_for_macro_f1_an_episode_gives_its_confusions():
    found = Classification(3, "macro_f1").statistics(LOGITS, TRUTH)  # predicted 0 1 2 1, true 0 2 2 0
    assert found["macro_f1"] == [1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert found["score"] == pytest.approx((2 / 3 + 0 + 2 / 3) / 3) and found["accuracy"] == 0.5
    assert "macro_f1" not in THREE.statistics(LOGITS, TRUTH)
    assert Classification(3, "macro_f1").name == THREE.name  # so they share one head
