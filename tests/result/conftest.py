"""A made-up run: two targets, four learners, scores that are known."""

import numpy
import pandas
import pytest

LEARNERS = {
    "maml": ("MAML, second order", 0.80),
    "multi_task": ("Multi-task, fine-tuned", 0.70),
    "single_task": ("Single-task", 0.60),
    "majority": ("Majority class", 0.50),
}
SEED_SHIFT = {0: 0.00, 1: 0.02, 2: 0.01}  # what seed moves of MAML's accuracy


def _run(seed=0, episodes=60):
    dice = numpy.random.default_rng(seed)
    ease = dice.normal(0, 0.05, episodes)  # an easy episode is easy for everyone: pairing takes this out
    parts = []
    for target, metric in {"imdb": "accuracy", "stars": "rmse"}.items():
        for learner, (_, mean) in LEARNERS.items():
            score = mean + ease + (SEED_SHIFT[seed] if learner == "maml" else 0) + dice.normal(0, 0.01, episodes)
            nothing = numpy.full(episodes, numpy.nan)
            accuracy, rmse = (score, nothing) if metric == "accuracy" else (nothing, 2 - score)
            columns = {"learner": learner, "target": target, "episode": numpy.arange(episodes), "accuracy": accuracy}
            columns |= {"balanced_accuracy": accuracy - 0.01, "rmse": rmse, "loss": 1 - score}
            parts.append(pandas.DataFrame({**columns, "adapt_seconds": 0.004, "items": 30}))
    cost = {"adapted_parameters": 1234567, "transductive": False, "peak_memory_mib": 812.4, "chosen": {}}
    settings = {learner: {**cost, "label": label} for learner, (label, _) in LEARNERS.items()}
    settings["majority"] |= {"adapted_parameters": None, "peak_memory_mib": None, "transductive": True}
    shape = {"shots": 5, "queries": 15, "episodes": episodes}
    result = {
        "experiment": "sentiment", "hash": f"{seed:012x}", "seed": seed, "learner": "maml",
        "reference": ["single_task", "multi_task"], "settings": settings,
        "targets": {
            "imdb": {"title": "IMDb", "note": "IMDb: its training half.", "metric": "accuracy", "ways": 2, **shape},
            "stars": {"title": "Stars", "note": "", "metric": "rmse", "ways": None, **shape},
        },
        "curves": {"maml": {"imdb": {"steps": [0, 1, 2], "accuracy": [0.6, 0.7, 0.8]}}},
        "data": {"imdb": "c0ffee"},
    }  # fmt: skip
    return result, pandas.concat(parts, ignore_index=True)


@pytest.fixture
def make_run():
    """make_run(seed, episodes) -> (result, episodes)"""
    return _run
