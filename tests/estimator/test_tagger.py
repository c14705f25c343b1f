"""What a run on tagged words learned as an estimator: the run's own tags, other names of types, files, refusals."""

import random
from dataclasses import replace

import pandas
import pytest
import tiny
from seqeval.metrics import f1_score
from sklearn.base import clone

import metalingua
from metalingua.error import UserError
from metalingua.estimator.given import EstimatorError
from metalingua.estimator.tagger import FewShotTagger

NAMES = {"PER": ["Ada", "Bo", "Cy"], "LOC": ["Oslo", "Rome", "Lima"]}
TASK = """
defaults:
  - /corpus@corpora.news: tagged
  - /corpus@corpora.chat: tagged
  - _self_
_target_: metalingua.task.tasks.Tasks
ways: 2
shots: 4
queries: 4
max_length: 8
label_order: fixed
held_out: domain
leakage: report
corpora:
  news: {name: news, domain: news, files: {paths: [news.conll]}}
  chat: {name: chat, domain: chat, files: {paths: [chat.conll]}}
meta_train: {news: {corpus: news, share: [0, 0.7]}}
meta_validation: {held: {corpus: news, share: [0.7, 1]}}
meta_test: {chat: {corpus: chat}}
"""
HOW = [
    "task=tagged", "text=word", "model=bilstm_attention", "~model.hidden", "+model.hidden=6", "model.heads=1",
    "model.embedding=8", "learner=anil", "~learner.tuned", "learner.step_size=0.5", "learner.steps=5", "steps=80",
    "validate_every=40", "optimizer.lr=0.02", "episodes.test=4", "logger=none", "reference=[]", "name=tagged",
    "~compare.unadapted", "~compare.multi_task", "~compare.multi_task_finetuned", "~compare.single_task",
    "~compare.tfidf", "~compare.majority", "+learner@compare.crf=crf",
]  # fmt: skip


def sentences(seed, count=60):
    dice, found = random.Random(seed), []
    for i in range(count):
        kind = dice.choice(["PER", "LOC"])
        words = [dice.choice(["we", "they"]), "saw", *dice.choices(NAMES[kind], k=1 + i % 2), f"w{seed}{i}"]
        found.append((words, ["O", "O", f"B-{kind}", *[f"I-{kind}"] * (i % 2), "O"]))
    return found


SUPPORT, ASKED = sentences(7, 12), sentences(8, 20)
X, Y = map(list, zip(*SUPPORT, strict=True))
Z, GOLD = map(list, zip(*ASKED, strict=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    (made / "conf/task/tagged.yaml").write_text(TASK)
    for seed, name in enumerate(("news", "chat")):
        blocks = ["\n".join(f"{w}\t{t}" for w, t in zip(*each, strict=True)) for each in sentences(seed)]
        (made / f"{name}.conll").write_text("\n\n".join(blocks))
    code, out, err = tiny.train(made, *HOW)
    assert (code, err) == (0, ""), out + err
    return next(run for run in (made / "outputs/tagged").iterdir() if "ANIL" in (run / "table.md").read_text())


@pytest.fixture
def tagger(run):
    return metalingua.load(run)


def test_a_run_on_tagged_words_makes_a_tagger_that_tags_every_word(tagger):
    assert isinstance(tagger, FewShotTagger)
    found = tagger.fit(X, Y).predict(Z)
    assert tagger.types_ == ["LOC", "PER"] and tagger.cut_ == 0
    assert [len(each) for each in found] == [len(each) for each in Z]
    assert tagger.score(Z, GOLD) == pytest.approx(f1_score(GOLD, found)) and tagger.score(Z, GOLD) > 0.5
    assert clone(tagger).set_params(batch_size=3).fit(X, Y).predict(Z) == found


def test_on_an_episode_it_answers_as_the_run_did(run, tagger):
    from omegaconf import OmegaConf

    from metalingua.result.identity import plain
    from metalingua.training.reading import read

    config = plain(OmegaConf.load(run / "config.yaml"))
    config["task"]["corpora"] = {
        name: {
            **each,
            "files": {**each["files"], "paths": [str(run.parents[2] / path) for path in each["files"]["paths"]]},
        }
        for name, each in config["task"]["corpora"].items()
    }
    tasks = read(OmegaConf.create(config)).tasks
    rows = pandas.read_parquet(run / "episodes.parquet").query("learner == 'anil'").set_index("episode")
    for i in range(2):
        support, query = (getattr(tasks.episodes("meta_test", 0)[i], half) for half in ("support", "query"))
        tags = [[support.problem.tags[tag] for tag in gold] for gold in support.gold]
        gold = [[query.problem.tags[tag] for tag in each] for each in query.gold]
        tagger.fit([text.split(" ") for text in support.inputs.texts], tags)
        right, found, there = rows.loc[i, "entity_f1"]
        assert tagger.score([text.split(" ") for text in query.inputs.texts], gold) == pytest.approx(
            2 * right / (found + there)
        )


def test_a_trained_head_takes_types_of_other_names_in_the_order_that_is_given(tagger):
    mine = {"LOC": "place", "PER": "somebody"}
    tags = [[tag[:2] + mine[tag[2:]] if tag != "O" else tag for tag in each] for each in Y]
    with pytest.raises(EstimatorError, match=r"trained: tagging_LOC_PER.*set_params\(types="):
        tagger.fit(X, tags)
    usual = clone(tagger).fit(X, Y).predict(Z)
    named = tagger.set_params(types=["place", "somebody"]).fit(X, tags).predict(Z)
    assert named == [[tag[:2] + mine[tag[2:]] if tag != "O" else tag for tag in each] for each in usual]
    with pytest.raises(EstimatorError, match="words are tagged somebody: name these too"):
        tagger.set_params(types=["place", "thing"]).fit(X, tags)


def test_a_file_has_the_fitted_tagger_again(tagger, tmp_path):
    before = tagger.set_params(types=["a", "b"]).fit(
        X, [[tag.replace("LOC", "a").replace("PER", "b") for tag in each] for each in Y]
    )
    again = metalingua.load(before.save(tmp_path / "tagger.safetensors"))
    assert isinstance(again, FewShotTagger) and again.types_ == ["a", "b"]
    assert again.predict(Z) == before.predict(Z)


def test_words_behind_the_end_of_what_is_read_are_outside_and_counted(tagger):
    tagger.fit(X, Y)
    long = ["we", "saw", *["Ada"] * 9]
    with pytest.warns(UserWarning, match="sentences of more than 8 tokens"):
        (found,) = tagger.predict([long])
    assert len(found) == 11 and found[8:] == ["O", "O", "O"] and tagger.cut_ == 1


def test_learners_of_the_runs_table_can_be_chosen(run):
    crf = metalingua.load(run, learner="crf").fit(X, Y)
    assert crf.score(X, Y) == 1


@pytest.mark.parametrize(("sentences", "tags", "message"), [
    (["Ada saw Rome"], [["O", "O", "O"]], "sentence 0 is a text, 'Ada saw Rome': give a list of its words"),
    ("Ada", [["O"]], "fit takes a list of sentences"),
    ([["Ada"]], [], "1 sentences and 0 lists of tags"),
    ([], [], "no sentence is given"),
    ([[]], [[]], "sentence 0 has no words: leave it out"),
    ([["Ada", "saw"]], [["B-PER"]], "sentence 0 has 2 words and 1 tags"),
    ([["Ada"]], [["I-PER"]], "sentence 0, word 0: I-PER follows nothing"),
    ([["Ada Bo"]], [["B-PER"]], "has the word 'Ada Bo': a word is a string without blanks"),
    ([["Ada"]], [["O"]], "no word is tagged as an entity"),
])  # fmt: skip
def test_what_is_no_tagged_sentence_is_refused(tagger, sentences, tags, message):
    with pytest.raises(EstimatorError, match=message):
        tagger.fit(sentences, tags)


def test_other_misuse_is_told(run, tagger):
    with pytest.raises(EstimatorError, match="kind is 'regression', and this run tags words"):
        metalingua.load(run, kind="regression")
    with pytest.raises(EstimatorError, match="types is 'PER': give a list of names"):
        clone(tagger).set_params(types="PER").fit(X, Y)
    with pytest.raises(EstimatorError, match="sentences is 'None'"):
        tagger.fit(X, Y).predict(None)


def test_learners_of_whole_texts_and_the_command_line_say_that_they_do_not_tag(run, tagger, tmp_path):
    from metalingua.predict import predict

    tagger.learned = replace(tagger.learned, learner={"_target_": "metalingua.learner.rules.Rules", "label": "rules"})
    with pytest.raises(EstimatorError, match="rules takes whole texts alone, no words"):
        tagger.fit(X, Y)
    (tmp_path / "few.csv").write_text("text,label\na,b\n")
    with pytest.raises(UserError, match="tags words, and predict answers whole texts"):
        predict(run, "-", support=tmp_path / "few.csv")
