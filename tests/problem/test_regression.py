import numpy as np
import pytest
import torch
from torch.testing import assert_close

from metalingua.problem.regression import Regression

RATING = Regression(-4.0, 4.0)
STARS = Regression(1.0, 5.0)


def test_targets_lie_on_one_scale_and_predictions_lead_back():
    targets = STARS.targets(np.array([1.0, 2.0, 3.0, 5.0]))
    assert targets.tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert STARS.predictions(targets.unsqueeze(-1)).tolist() == [1.0, 2.0, 3.0, 5.0]
    assert RATING.targets(np.array([2.0])).tolist() == [0.5]
    assert RATING.name == STARS.name == "regression"  # so they share one head


@pytest.mark.parametrize("rating", [4.01, -4.01, float("nan")])
def test_a_rating_off_the_scale_is_refused(rating):
    with pytest.raises(ValueError, match=r"the scale is -4.0 to 4.0"):
        RATING.targets(np.array([0.0, rating]))


def test_predictions_are_held_to_the_ends_of_the_scale():
    assert STARS.predictions(torch.tensor([[9.0], [-9.0]])).tolist() == [5.0, 1.0]


def test_the_loss_is_the_mean_of_squares_by_hand():
    outputs, targets = torch.tensor([[0.5], [-1.0]]), torch.tensor([0.0, 1.0])
    assert_close(RATING.loss(outputs, targets), torch.tensor((0.25 + 4.0) / 2))  # the article's is half the sum: 2.125


def test_the_loss_pairs_items_and_does_not_spread_them():  # [items, 1] against [items] would make [items, items]
    outputs = torch.tensor([[0.0], [1.0], [-1.0]])
    assert RATING.loss(outputs, outputs.squeeze(-1)) == 0


def test_float64_outputs_keep_their_precision():
    outputs = torch.full((2, 1), 1e-9, dtype=torch.float64, requires_grad=True)
    loss = RATING.loss(outputs, RATING.targets(np.array([0.0, 0.0])))
    assert loss.dtype == torch.float64
    assert_close(torch.autograd.grad(loss, outputs)[0], torch.full((2, 1), 1e-9, dtype=torch.float64))


def test_statistics_by_hand():
    outputs, targets = (
        RATING.targets(np.array([1.0, 1.0, 0.0])).unsqueeze(-1),
        RATING.targets(np.array([2.0, 0.0, -2.0])),
    )
    found = RATING.statistics(outputs, targets)  # errors -1, 1, 2 rating points
    assert found["rmse"] == pytest.approx(2.0**0.5)
    assert found["score"] == pytest.approx(1 - 2.0 / (8 / 3))
    assert found["loss"] == pytest.approx(2.0 / 16)  # a rating point is a quarter of a unit
    assert "accuracy" not in found and all(type(value) is float for value in found.values())


def test_the_score_is_1_for_the_truth_and_0_for_its_mean():
    targets = RATING.targets(np.array([-3.0, 0.0, 1.0]))
    assert RATING.statistics(targets.unsqueeze(-1), targets)["score"] == pytest.approx(1)
    assert RATING.statistics(targets.mean().expand(3, 1), targets)["score"] == pytest.approx(0, abs=1e-6)
    assert RATING.statistics(torch.zeros(2, 1), RATING.targets(np.array([1.0, 1.0])))["score"] == 0.0  # no variance


def test_the_best_answer_without_the_text_is_the_mean():
    targets = torch.tensor([-1.0, 0.0, 0.4])
    constant = RATING.constant(targets)
    assert constant.shape == (1, 1)
    assert_close(constant.squeeze(), targets.mean())
    best = RATING.loss(constant.expand(3, -1), targets)
    assert (
        RATING.loss(constant.expand(3, -1) + 0.05, targets) > best < RATING.loss(constant.expand(3, -1) - 0.05, targets)
    )


def test_for_pearson_an_episode_gives_its_sums_and_spearman():
    stars = Regression(1.0, 5.0, "pearson")
    found = stars.statistics(torch.tensor([[-1.0], [0.0], [0.5]]), stars.targets(np.array([1.0, 2.0, 5.0])))
    assert found["pearson"] == [3, 0 + 2 + 3, 0 + 1 + 4, 4 + 9, 1 + 16, 2 + 12]  # counted from the lowest star
    assert found["spearman"] == pytest.approx(1) and found["rmse"] > 0
    constant = stars.statistics(torch.zeros(3, 1), stars.targets(np.array([1.0, 2.0, 5.0])))
    assert constant["spearman"] == 0.0
    assert "pearson" not in STARS.statistics(torch.zeros(2, 1), torch.tensor([0.0, 1.0]))
