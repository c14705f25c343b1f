import pytest

from metalingua.result.pairwise import pairwise
from metalingua.result.run import RunError
from metalingua.result.table import tables

LEARNERS = ["maml", "multi_task", "single_task", "majority"]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("target", ["imdb", "stars"])
def test_it_is_what_tables_print_and_minus_it_the_other_way_round(make_run, seeds, target):
    runs = [make_run(seed) for seed in range(seeds)]
    found = pairwise(runs, target, LEARNERS)
    assert len(found) == 12
    (table,) = (table for table in tables(runs) if table.target == target)
    for row in table.rows:
        for other in set(table.references) - {row.learner}:
            mine, theirs = found[row.learner, other], row.differences[other]
            assert (mine.estimate, mine.low, mine.high) == pytest.approx((theirs.estimate, theirs.low, theirs.high))
            assert (mine.n, mine.method) == (theirs.n, theirs.method)
            back = found[other, row.learner]
            assert (back.estimate, back.low, back.high) == (-mine.estimate, -mine.high, -mine.low)
    assert found["maml", "majority"].estimate != found["maml", "single_task"].estimate


def test_learners_without_the_same_episodes_are_refused(make_run):
    result, episodes = make_run()
    cut = episodes[~((episodes.learner == "majority") & (episodes.episode == 3))]
    with pytest.raises(RunError, match="majority and maml did not see the same episodes"):
        pairwise([(result, cut)], "imdb", LEARNERS)
    assert (
        len(pairwise([(result, cut)], "imdb", LEARNERS[:3])) == 6 and pairwise([(result, cut)], "imdb", ["maml"]) == {}
    )
