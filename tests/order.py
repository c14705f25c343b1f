"""Which files of tests begin first.

A worker of `make test` takes one file after the other, and the last to end decides how long all take: so the long ones
begin first, in about the order of what they take. pytest-xdist by itself begins with those of the most tests.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = (
    "tests/study/test_reliability.py",
    "tests/training/test_run.py",
    "tests/study/test_commands.py",
    "tests/test_conf.py",
    "tests/training/test_pretraining.py",
    "tests/learner/test_maml.py",
    "tests/estimator/test_estimator.py",
    "tests/study/test_search.py",
    "tests/test_train.py",
    "tests/training/test_learners.py",
    "tests/training/test_processes.py",
    "tests/training/test_pretrained.py",
    "tests/training/test_start.py",
    "tests/training/test_mirror.py",
    "tests/training/test_translation.py",
    "tests/test_experiments.py",
    "notebooks/01_first_tour.ipynb",
    "notebooks/03_inside_an_adaptation.ipynb",
    "notebooks/02_reading_a_study.ipynb",
    "tests/test_predict.py",
    "tests/learner/test_imaml.py",
)


def place(path: Path) -> int:
    """Of a file, from 0."""
    name = path.relative_to(ROOT).as_posix()
    return FIRST.index(name) if name in FIRST else len(FIRST)
