"""Tasks of parallel text: which token an item asks for, fixed test sets, what is refused, what the gate sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import pytest
from datasets import Dataset

from metalingua.error import UserError
from metalingua.task.leakage import gate, pools
from metalingua.task.tasks import Tasks
from metalingua.text.joint import JointTokenizer

NAMES = [f"{a}{b}" for a in "bdgklm" for b in ("ado", "inu", "ora", "ela")]
TABLE = Path(__file__).parents[3] / "shared" / "data"


@dataclass
class Parallel:
    """English to a language of one's own, in which words are spelled backward."""

    name: str
    target_language: str = "xx"
    first: int = 0
    domain: str = "words"
    language: str = "en"
    labels = rating_range = label_words = None

    def counted(self):
        return {}

    def load(self):
        dice = np.random.default_rng(self.first)
        texts = [" ".join(dice.choice(NAMES, 4)) for _ in range(80)]
        texts = list(dict.fromkeys(texts))
        return Dataset.from_dict({"text": texts, "target": [text[::-1] for text in texts],
                                  "target_language": [self.target_language] * len(texts)})  # fmt: skip

    def checksum(self):
        return self.name


def tasks(max_length=30, **rules):
    corpora = {"one": Parallel("one"), "other": Parallel("other", first=1), "third": Parallel("third", "yy", 2)}
    given = {"meta_train": {"a": {"corpus": "one"}}, "meta_validation": {"b": {"corpus": "one", "share": [0, 0.2]}},
             "meta_test": {"c": {"corpus": "other"}}}  # fmt: skip
    return Tasks(corpora, **{**given, **rules}, ways=2, shots=2, queries=3, max_length=max_length, label_order="fixed",
                 held_out="nothing", leakage="drop")  # fmt: skip


def encoded(languages=("xx", "yy"), **settings):
    made = tasks(**settings).read()
    tokenizer = JointTokenizer(320, languages)
    made.encode(tokenizer)
    return made, tokenizer


def test_an_item_asks_for_the_token_that_follows_its_place():
    made, tokenizer = encoded()
    episode = made.episodes("meta_test", 0)[0]
    query, tag, end = episode.query, tokenizer.vocabulary["<2xx>"], tokenizer.vocabulary["[END]"]
    at, tokens = query.inputs.at, query.inputs.token_ids
    for text in range(3):
        mine = at[:, 0] == text
        second, length = int(query.inputs.second[text]), int(query.inputs.lengths[text])
        assert tokenizer.text(tokens[text, :second]) == query.inputs.texts[text]
        assert int(tokens[text, second]) == tag
        said = tokens[text, second + 1 : length].tolist()
        assert tokenizer.text(said) == query.gold[text] == query.inputs.texts[text][::-1]
        assert at[mine, 1].tolist() == list(range(second, length))
        assert query.targets[mine].tolist() == [*said, end]
    assert len(episode.support.inputs.lengths) == 2 and episode.rows.tolist() == list(range(320))


def test_what_is_too_long_is_cut_and_has_no_end():
    made, tokenizer = encoded(max_length=4)
    query = made.episodes("meta_test", 0)[0].query
    end, begins = tokenizer.vocabulary["[END]"], query.inputs.second
    assert begins.max() == 4 and (query.inputs.lengths - begins).max() == 4
    assert len(query.targets) == int((query.inputs.lengths - begins).sum())
    assert end not in query.targets.tolist()
    assert all(len(gold.split()) == 4 for gold in query.gold)  # it is judged by the whole translation


def test_problems_of_two_languages_share_a_head_and_differ_in_their_tag():
    made, _ = encoded(meta_test={"c": {"corpus": "other", "beam": 3}, "d": {"corpus": "third"}})
    one, other = (made.episodes("meta_test", 0)[i].query.problem for i in (0, 1))
    assert one.name == other.name and made.heads() == {"translation": 0}
    assert (one.language, one.beam, one.metric) == ("xx", 3, "bleu") and other.language == "yy"
    assert one != other and one.words == other.words and one.source == other.source == "en"


def test_a_text_is_told_as_a_translation_that_says_it_is_read():
    for longest in (30, 4):  # whole; cut, and said to its end all the same
        made, tokenizer = encoded(max_length=longest)
        query = made.episodes("meta_test", 0)[0].query
        end, at = tokenizer.vocabulary["[END]"], query.inputs.at
        for text, gold in enumerate(query.gold):
            read = query.targets[at[:, 0] == text].tolist()
            assert query.problem.told(gold) == (read if longest == 30 else [*read[:-1], end])


def test_a_fixed_test_set_is_asked_in_every_episode_and_drawn_for_no_support():
    fixed = {"c": {"corpus": "one", "share": [0.5, 1], "fixed_queries": {"corpus": "other", "each": 7}}}
    made, _ = encoded(meta_test=fixed, meta_train={"a": {"corpus": "one", "share": [0, 0.5]}})
    drawn = made.episodes("meta_test", 0)
    assert drawn[0].query.inputs.texts == drawn[1].query.inputs.texts and len(drawn[0].query.inputs.lengths) == 7
    assert not set(drawn[0].support.inputs.texts) & set(drawn[0].query.inputs.texts)
    assert set(drawn[0].query.inputs.texts) < set(Parallel("other", first=1).load()["text"])


def test_a_fixed_test_set_of_another_direction_says_what_is_left_of_it():
    made, tokenizer = encoded(meta_test={"c": {"corpus": "other", "fixed_queries": {"corpus": "third"}}})
    episode = made.episodes("meta_test", 0)[0]
    for half, language in ((episode.support, "xx"), (episode.query, "yy")):
        begins = half.inputs.token_ids.gather(1, half.inputs.second.unsqueeze(1))
        assert set(begins.flatten().tolist()) == {tokenizer.vocabulary[f"<2{language}>"]}
    assert episode.query.problem.language == "yy"


def test_a_metric_may_be_chosen():
    made, _ = encoded(meta_test={"c": {"corpus": "other", "metric": "chrf"}})
    assert made.episodes("meta_test", 0)[0].query.problem.metric == "chrf"


def test_a_language_without_a_tag_is_refused():
    with pytest.raises(UserError, match=r"task c translates into 'xx', and the tokenizer has no tag.*\(it has yy\)"):
        encoded(("yy",), meta_train={"a": {"corpus": "third"}}, meta_validation={})


@pytest.mark.parametrize(("rule", "says"), [
    ({"ways": 3}, "is parallel text"),
    ({"fixed_queries": {"corpus": "one", "each": 99}}, "fixed_queries.each is 99"),
    ({"shots": 70, "queries": 60}, "task.meta_test.c has .* texts; .* = 130"),
])  # fmt: skip
def test_rules_that_a_translation_cannot_follow(rule, says):
    with pytest.raises(UserError, match=says):
        encoded(meta_test={"c": {"corpus": "other", **rule}})


def test_the_tokenizer_reads_both_sides_of_meta_training():
    made, _ = encoded()
    texts = Parallel("one").load()
    strings = list(made.splits["meta_train"][0].strings())
    assert {*strings} <= {*texts["text"], *texts["target"]} and {*strings} & {*texts["target"]}


def leaks(targets, tagged):
    columns = {"text": [f"source {i} of nothing else" for i in range(len(targets))], "target": targets}
    given = [*pools("meta_train", "parallel", columns, np.arange(len(targets))),
             *pools("meta_test", "tagged", {"text": tagged}, np.arange(len(tagged)))]  # fmt: skip
    found = gate([pool for pool, _ in given])
    return {int(row) for at, drop in found.drop.items() for i in drop for row in given[at][1][i]}


def test_the_gate_sees_translations():
    assert leaks(["Ó jẹ ìwé tí ó dára", "Ẹ káàárọ̀ o"], ["ó jẹ ìwé tí ó dára ."]) == {0}
    assert leaks(["Ó jẹ ìwé tí ó dára", "Ẹ káàárọ̀ o"], ["Òmíràn ni èyí"]) == set()


def test_a_translation_that_is_a_tagged_sentence_of_meta_test_is_left_out_of_meta_training():
    """Parallel text in meta-training, entities at meta-test: the sentence is the translation's side."""
    parallel = Parallel("one")
    held = parallel.load()
    texts = [*held["target"][:3], *(f"no {i} translation of any sentence" for i in range(9))]
    tags = [["B-X", *["O"] * (len(text.split()) - 1)] for text in texts]
    entities = Parallel("entities", first=1, domain="news")
    entities.load = lambda: Dataset.from_dict({"text": texts, "words": [each.split() for each in texts], "tags": tags})
    made = Tasks(
        {"one": parallel, "entities": entities},
        {"a": {"corpus": "one"}},
        {"b": {"corpus": "one", "share": [0, 0.2]}},
        {"c": {"corpus": "entities"}},
        **{"ways": 2, "shots": 2, "queries": 3, "max_length": 30},
        **{"label_order": "fixed", "held_out": "nothing", "leakage": "drop"},
    ).read()
    assert made.found["pairs"]["meta_train/one ~ meta_test/entities"] == 3
    assert not set(made.splits["meta_train"][0].targets) & set(held["target"][:3])
    assert len(made.splits["meta_test"][0].texts) == 12


@pytest.mark.skipif(
    not (TABLE / "mt/lafand_mt.parquet").exists(), reason="needs LAFAND-MT and MasakhaNER, which are not shipped"
)
@pytest.mark.parametrize(("pair", "language", "leaked"), [("en-yor", "yor", 300), ("en-ibo", "ibo", 200)])
def test_translations_of_lafand_hold_test_sentences_of_masakhaner(pair, language, leaked):
    parallel = pandas.read_parquet(TABLE / "mt/lafand_mt.parquet")
    tagged = pandas.read_parquet(TABLE / "ner/masakhaner_v1.parquet")
    targets = parallel[parallel["pair"] == pair]["tgt"].tolist()
    mine = tagged[(tagged["lang"] == language) & (tagged["split"] == "test")]
    sentences = [" ".join(tokens) for tokens in mine["tokens"]]
    found = leaks(targets, sentences)
    assert len(found) >= leaked
