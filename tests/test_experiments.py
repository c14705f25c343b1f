"""What README and experiments/ print is what the kept runs say."""

import re
from pathlib import Path

import pytest

from metalingua.__main__ import rewrite
from metalingua.result.across import across
from metalingua.result.grid import grid
from metalingua.result.run import read_run
from metalingua.result.table import markdown, tables

ROOT = Path(__file__).parents[1]
PRINTED = [  # file, name of the table in it, its runs below experiments/, other runs that make another table
    ("README.md", "sentiment", "0001_sentiment/runs/*", "0001_sentiment/runs/[!4]*"),
    ("experiments/0001_sentiment/README.md", "sentiment", "0001_sentiment/runs/*", "0001_sentiment/runs/[!4]*"),
    ("experiments/0002_learners/README.md", "fixed", "0002_learners/runs/b*", "0002_learners/runs/a*"),
    ("experiments/0002_learners/README.md", "shuffled", "0002_learners/runs/a*", "0002_learners/runs/b*"),
    (
        "experiments/0002_learners/README.md",
        "best_fixed",
        "0002_learners/best/fixed/*",
        "0002_learners/best/shuffled/*",
    ),
    (
        "experiments/0002_learners/README.md",
        "best_shuffled",
        "0002_learners/best/shuffled/*",
        "0002_learners/best/fixed/*",
    ),
    ("experiments/0003_optimizers/README.md", "adam", "0003_optimizers/runs/3*", "0003_optimizers/runs/5*"),
    ("experiments/0003_optimizers/README.md", "sgd_momentum", "0003_optimizers/runs/9*", "0003_optimizers/runs/5*"),
    ("experiments/0003_optimizers/README.md", "gradient_descent", "0003_optimizers/runs/5*", "0003_optimizers/runs/9*"),
]


GRIDS = [  # file, name of the grid in it, its runs below experiments/, its keys, other runs that make another grid
    ("experiments/0002_learners/README.md", "tuning_fixed", "0002_learners/tuning/fixed/*",
     ["learner.step_size", "learner.steps"], "0002_learners/tuning/shuffled/*"),
    ("experiments/0002_learners/README.md", "tuning_shuffled", "0002_learners/tuning/shuffled/*",
     ["learner.step_size", "learner.steps"], "0002_learners/tuning/fixed/*"),
    *(("experiments/0003_optimizers/README.md", f"tuning_{one}", f"0003_optimizers/tuning/{one}/*", ["optimizer.lr"],
       f"0003_optimizers/tuning/{other}/*") for one, other in (("sgd", "gd"), ("gd", "adam"), ("adam", "sgd"))),
]  # fmt: skip


SHOTS = {"rows": ["name"], "columns": ["target.shots"], "mean": True}
SPLITS = {"rows": ["name"], "columns": [], "over": ["seed", "classes"]}
CENTROID, HEAD, BAG = (
    {"learners": each} for each in (["nearest_centroid"], ["fine_tune"], ["tfidf", "majority"])
)  # fmt: skip
NEW = {"learners": ["ridge", "nearest_centroid", "named_proto_net", "cosine_proto_net"]}
ACROSS = [  # experiment, name of the table in its README, its runs there, how they stand side by side
    ("0004_pretraining", "transformer_centroid", "*_transformer", SHOTS | CENTROID),
    ("0004_pretraining", "transformer_centroid_minus", "*_transformer",
     SHOTS | CENTROID | {"minus": "mlm_transformer · nearest centroid"}),
    ("0004_pretraining", "transformer_head", "*_transformer", SHOTS | HEAD),
    ("0004_pretraining", "transformer_head_minus", "*_transformer",
     SHOTS | HEAD | {"minus": "mlm_transformer · head fine-tuned"}),
    ("0004_pretraining", "bag_of_words", "mlm_transformer", SHOTS | BAG),
    ("0004_pretraining", "lstm", "*_lstm", SHOTS | {"learners": ["nearest_centroid", "fine_tune"]}),
    ("0004_pretraining", "lstm_centroid_minus", "*_lstm",
     SHOTS | CENTROID | {"minus": "mlm_lstm · nearest centroid"}),
    ("0005_encoders", "main", "*", SPLITS | NEW),
    ("0005_encoders", "main_minus", "*", SPLITS | NEW | {"minus": "frozen_minilm · nearest centroid"}),
    ("0005_encoders", "bag_of_words", "frozen_minilm", SPLITS | BAG),
]  # fmt: skip


@pytest.mark.parametrize(("experiment", "name", "kept", "how"), ACROSS)
def test_printed_runs_side_by_side_are_the_kept_runs(experiment, name, kept, how, tmp_path):
    copy, page = tmp_path / "copy.md", ROOT / "experiments" / experiment / "README.md"
    copy.write_bytes(page.read_bytes())
    runs = sorted((page.parent / "runs").glob(f"{kept}/*"))
    for some, same in ((runs, True), (runs[1:], False)):
        rewrite(copy, name, across(some, **how))
        assert (copy.read_text() == page.read_text()) is same


@pytest.mark.parametrize(("file", "name", "kept", "keys", "others"), GRIDS)
def test_a_printed_grid_is_the_kept_runs_grid(file, name, kept, keys, others, tmp_path):
    copy = tmp_path / "copy.md"
    copy.write_bytes((ROOT / file).read_bytes())
    for runs, same in ((kept, True), (others, False)):
        rewrite(copy, name, grid(sorted((ROOT / "experiments").glob(runs)), keys))
        assert (copy.read_text() == (ROOT / file).read_text()) is same


@pytest.mark.parametrize(("file", "name", "kept", "others"), PRINTED)
def test_a_printed_table_is_the_kept_runs_table(file, name, kept, others, tmp_path):
    runs, other_runs = (
        [read_run(path) for path in sorted((ROOT / "experiments").glob(each))] for each in (kept, others)
    )  # fmt: skip
    copy = tmp_path / "copy.md"
    copy.write_bytes((ROOT / file).read_bytes())
    rewrite(copy, name, markdown(tables(runs)))
    assert copy.read_text() == (ROOT / file).read_text()
    rewrite(copy, name, markdown(tables(other_runs)))
    assert copy.read_text() != (ROOT / file).read_text()


def test_no_marked_table_is_forgotten():
    pages = [ROOT / "README.md", *ROOT.glob("experiments/*/README.md"), *(ROOT / "docs").glob("*.md")]
    pages.remove(ROOT / "docs" / "performance.md")  # tests/benchmarks/test_page.py
    pages.remove(ROOT / "docs" / "models.md")  # tests/benchmarks/test_models.py
    pages.remove(ROOT / "docs" / "learners.md")  # tests/learner/test_proof.py
    pages.remove(ROOT / "experiments" / "0006_article_table" / "README.md")  # tests/test_article_table.py
    marked = [(str(page.relative_to(ROOT)), name) for page in pages
              for name in re.findall(r"^<!-- table:(\w+) -->$", page.read_text(), re.MULTILINE)]  # fmt: skip
    side_by_side = [(f"experiments/{experiment}/README.md", name) for experiment, name, *_ in ACROSS]
    assert sorted(marked) == sorted([*((file, name) for file, name, *_ in [*PRINTED, *GRIDS]), *side_by_side])
