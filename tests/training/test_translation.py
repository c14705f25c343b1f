"""A whole run of translation, of two text files: its scores, the learners that can, and those that cannot."""

import hashlib
import json
import random

import numpy as np
import pandas
import pytest
import tiny

from metalingua.result.metric import METRICS

WORDS = {"dog": "Hund", "cat": "Katze", "sees": "sieht", "likes": "mag", "old": "alt", "red": "rot", "house": "Haus"}
TASK = """
defaults:
  - /corpus@corpora.one: parallel
  - /corpus@corpora.other: parallel
  - _self_
_target_: metalingua.task.tasks.Tasks
ways: 2
shots: 3
queries: 2
max_length: 8
label_order: fixed
held_out: nothing
leakage: report
corpora:
  one: {name: one, files: {paths: [one.en, one.de]}}
  other: {name: other, files: {paths: [other.en, other.fr], target_language: fr}}
meta_train:
  known: {corpus: one}
meta_validation:
  seen: {corpus: one}
meta_test:
  new: {corpus: other, title: New, beam: 2}
"""
HOW = ["task=words", "text=joint", "text.languages=[de,fr]", "text.size=300", "logger=none", "~compare.tfidf",
       "~compare.majority", "learner=fomaml", "~learner.tuned", "steps=2", "validate_every=2",
       "episodes.test=2"]  # fmt: skip
LSTM = ["model=seq2seq_lstm", "model.embedding=4", "model.hidden=4"]
TRANSFORMER = ["model=seq2seq_transformer", "~model.embedding", "~model.hidden", "model.dim=4", "model.heads=2",
               "model.ffn=4"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, dice = tiny.checkout(tmp_path_factory.mktemp("checkout")), random.Random(0)
    (made / "conf/task/words.yaml").write_text(TASK)
    for name, language, turn in (("one", "de", str), ("other", "fr", lambda word: word[::-1])):
        texts = [dice.choices(list(WORDS), k=4) for _ in range(30)]
        (made / f"{name}.en").write_text("\n".join(map(" ".join, texts)))
        (made / f"{name}.{language}").write_text("\n".join(" ".join(turn(WORDS[w]) for w in text) for text in texts))
    rows = [["en", "de", *pair, 0] for pair in WORDS.items()] + [
        ["en", "fr", en, de[::-1], 0] for en, de in WORDS.items()
    ]
    names = ["src_lang", "tgt_lang", "src", "tgt", "rank"]
    pandas.DataFrame(rows, columns=names).to_csv(made / "words.csv", index=False)
    return made


@pytest.mark.parametrize("model", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])
def test_a_run_translates_and_says_how_well(folder, model):
    learners = ["+learner@compare.anil=anil", "+learner@compare.reptile=reptile", "+learner@compare.batches=minibatch"]
    name = model[0].partition("=")[2]
    lexicon = ["+learner@compare.dictionary=dictionary", "compare.dictionary.paths=[words.csv]"]
    words = [*HOW, *model, *learners, *lexicon, f"name={name}", "compare.batches.passes=1"]
    code, out, err = tiny.Started(folder, *words).end(300)  # three of them are trained in runs of their own
    assert (code, err) == (0, ""), out + err
    run = next(each for each in (folder / f"outputs/{name}").iterdir() if "Reptile" in (each / "table.md").read_text()
               and "single-task" in (each / "table.md").read_text())  # fmt: skip
    rows = pandas.read_parquet(run / "episodes.parquet")
    learned = {"maml", "unadapted", "multi_task", "multi_task_finetuned", "single_task", "anil", "reptile", "batches",
               "dictionary"}  # fmt: skip
    assert set(rows["learner"]) == learned
    assert all(len(counts) == 10 for counts in rows["bleu"]) and all(len(counts) == 18 for counts in rows["chrf"])
    chrf = {name: METRICS["chrf"].pooled(np.sum([*each], 0)) for name, each in rows.groupby("learner")["chrf"]}
    assert max(chrf, key=chrf.get) == "dictionary"  # it knows the words, though 8 tokens are few
    assert rows["loss"].gt(0).all() and rows["accuracy"].between(0, 1).all()
    assert "| BLEU | chrF |" in (run / "table.md").read_text()
    checksum = hashlib.sha256((folder / "words.csv").read_bytes()).hexdigest()
    assert json.loads((run / "result.json").read_text())["files"] == {"words.csv": checksum}


def test_learners_that_tell_classes_are_refused_and_a_lexicon_that_is_not_there(folder):
    added = ["+learner@compare.ridge=ridge", "+learner@compare.dictionary=dictionary"]
    code, out, err = tiny.train(folder, *HOW, *LSTM, *added, "name=refused")
    assert code == 2 and "compare.ridge" in err and "any token may be the answer" in err
    assert "compare.dictionary refuses task.meta_validation.seen, task.meta_test.new: it has no lexicon" in err
    assert "bilingual_dictionaries.parquet: No such file" in err and "own, compare.dictionary.paths=[FILE]" in err
    assert " dictionary" not in err[err.index("these can:") :]


@pytest.mark.parametrize("model", ["transformer", "pair_transformer"])
def test_a_model_that_reads_what_is_not_said_yet_is_refused(folder, model):
    """Its loss would be that of copying the next token, and meta-validation would choose by it."""
    code, out, err = tiny.train(folder, *HOW, f"model={model}", "~model.embedding", "~model.hidden", "name=ahead")
    assert code == 2 and "model refuses task.meta_train.known, task.meta_validation.seen, task.meta_test.new" in err
    assert "choose model=seq2seq_transformer or model=seq2seq_lstm" in err
