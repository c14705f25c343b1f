"""At equal cost: what each learner had reached by then, on meta-validation."""

import pytest

from metalingua.__main__ import main
from metalingua.result.equal_cost import equal_cost
from metalingua.result.layout import as_markdown
from metalingua.result.run import RunDirectory, RunError

# step, seconds, score of each validation; multi-task ends first, after 10 seconds and 40 operations
CHEAP = [[2, 5.0, 0.60], [4, 10.0, 0.70]]
DEAR = [[2, 8.0, 0.66], [4, 16.0, 0.64], [6, 24.0, 0.90]]


@pytest.fixture
def made(make_run):
    """made(seed, shift) -> a result in which two learners are meta-trained."""

    def make(seed=0, shift=0.0):
        result, _ = make_run(seed)
        moved = [[step, seconds, score + shift] for step, seconds, score in DEAR]
        result["training"] = {
            "maml": {"seconds": 24.0, "history": moved, "flops_per_step": 10},
            "multi_task": {"seconds": 10.0, "history": CHEAP, "flops_per_step": 10},
        }
        return result

    return make


def printed(results, by="seconds"):
    return as_markdown(equal_cost(results, by))


def cells(text):
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_by_hand_of_one_run(made):
    head, _, maml, cheap = cells(printed([made()]))
    assert head[2] == "minus Multi-task, fine-tuned, points" and head[-1] == "its cost, s"
    assert maml == ["MAML, second order", "66.0", "−4.0", "90.0", "24"]  # of 8 s: 16 are too many
    assert cheap == ["Multi-task, fine-tuned", "70.0", "–", "70.0", "10"]
    # by operations 4 steps are 4 steps, and the best so far counts, which is what would be tested
    assert cells(printed([made()], "flops"))[2] == ["MAML, second order", "66.0", "−4.0", "90.0", "6e-08"]


def test_it_says_that_it_is_of_meta_validation_and_traces_its_numbers(made):
    text = printed([made()])
    assert "on meta-validation, not on meta-test" in text and "Multi-task, fine-tuned ended: 10 s of" in text
    assert text.endswith("Run 000000000000; commit not recorded.\n")


def test_differences_over_seeds_are_paired_and_tested(made):
    text = printed([made(seed, shift) for seed, shift in enumerate((0.0, 0.01, 0.02))])
    # −4, −3, −2: t with 2 degrees of freedom, 4.3027 / sqrt(3)
    assert cells(text)[2][2] == "**−3.0 [−5.5, −0.5]**"
    assert "exact sign-flip test over 3 seeds, Holm over 1 differences" in text and "can find nothing" in text


def test_before_its_first_validation_a_learner_has_no_score(made):
    result = made()
    result["training"]["maml"]["history"] = [[2, 12.0, 0.9]]
    text = printed([result])
    assert cells(text)[2][1:3] == ["–", "–"] and "no validation had taken place by then" in text


def test_what_cannot_be_compared_is_refused(made):
    one = made()
    del one["training"]["maml"]["flops_per_step"]
    with pytest.raises(RunError, match="run 000000000000 does not say what maml cost in flops"):
        equal_cost([one], "flops")
    del one["training"]["maml"]
    with pytest.raises(RunError, match="1 learners of these runs were meta-trained"):
        equal_cost([one], "seconds")


def test_the_command_prints_it(made, make_run, tmp_path, capsys):
    RunDirectory(tmp_path / "run").finish(made(), make_run(0)[1])
    assert main(["table", str(tmp_path / "run"), "--at-cost", "seconds"]) == 0
    assert "| MAML, second order | 66.0 |" in capsys.readouterr().out
