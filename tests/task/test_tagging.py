"""Tasks of tagged sentences: which are drawn, how words meet tokens, what is refused, what the gate sees."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from toy import TinyCorpus

from metalingua.error import UserError
from metalingua.learner.majority import Majority
from metalingua.learner.proto_net import ProtoNet
from metalingua.learner.ridge import Ridge
from metalingua.model.bilstm_attention import BilstmAttentionEncoder
from metalingua.model.model import Model
from metalingua.problem.problem import Asked
from metalingua.task.leakage import LeakageError
from metalingua.task.tasks import Tasks
from metalingua.text.subword import SubwordTokenizer
from metalingua.text.word import WordTokenizer
from metalingua.training.engine import Engine

DATA = Path(__file__).parents[3] / "shared" / "data"
NAMES = {"PER": ["Ada", "Bo", "Cy"], "LOC": ["Oslo", "Rome", "Lima"], "ORG": ["Acme", "Unu"]}


@dataclass
class TaggedCorpus(TinyCorpus):
    tags: list[list[str]] = field(default_factory=list)

    def load(self):
        words = [text.split(" ") for text in self.texts]
        return Dataset.from_dict({"text": self.texts, "words": words, "tags": self.tags})


def written(name, count, types=("PER", "LOC"), seed=0, rare=()):
    """`count` sentences of seven words with an entity each, of two words every second time; types of `rare` in one."""
    dice, texts, tags = np.random.default_rng(seed), [], []
    for i in range(count):
        kind = rare[i] if i < len(rare) else str(dice.choice([t for t in types if t not in rare]))
        entity = [str(word) for word in dice.choice(NAMES[kind], 1 + i % 2)]
        texts.append(" ".join([f"{name}{i}", "saw", *entity, f"w{i}", "today", "."]))
        tags.append(["O", "O", f"B-{kind}", *[f"I-{kind}"] * (i % 2), "O", "O", "O"])
    return TaggedCorpus(name, texts, tags=tags)


def made(train=None, test=None, asked=None, tokenizer=None, max_length=16, encode=True, rules=None, **settings):
    corpora = {"news": train or written("news", 30), "dev": written("dev", 20), "tweet": test or written("tweet", 30)}
    rule = {"corpus": "tweet", **(rules or {})}
    if asked:
        corpora["asked"], rule["fixed_queries"] = asked, {"corpus": "asked", **rule.get("fixed_queries", {})}
    given = {"ways": 2, "shots": 4, "queries": 5, "label_order": "fixed", "held_out": "domain", "leakage": "drop"}
    tasks = Tasks(corpora, {"a": {"corpus": "news"}}, {"b": {"corpus": "dev"}}, {"c": rule},
                  **{**given, "max_length": max_length, **settings})  # fmt: skip
    tasks.read()
    if encode:
        tasks.encode(tokenizer or WordTokenizer(80))
    return tasks


def test_an_episode_says_of_every_word_which_tag_it_has():
    tasks = made()
    episode = tasks.episodes("meta_test", 0)[0]
    query = episode.query
    assert query.problem.types == ("LOC", "PER")
    assert len(query.inputs.texts) == 5 and len(query.inputs) == sum(len(t.split()) for t in query.inputs.texts)
    for word, target in zip([w for t in query.inputs.texts for w in t.split()], query.targets.tolist(), strict=True):
        kind = next((kind for kind, names in NAMES.items() if word in names), None)
        assert query.problem.tags[target][2:] == (kind or "")
    assert [len(gold) for gold in query.gold] == [len(text.split()) for text in query.inputs.texts]


def test_the_support_has_every_type_however_rare():
    tasks = made(test=written("tweet", 40, ("PER", "LOC", "ORG"), rare=("ORG",)), shots=3)
    episodes = tasks.episodes("meta_test", 0)
    drawn = set()
    for i in range(20):
        support, query = episodes[i].support, episodes[i].query
        assert {tag[2:] for tag in np.array(support.problem.tags)[support.targets]} == {"", "PER", "LOC", "ORG"}
        assert len(support.inputs.texts) == 3 and not set(support.inputs.texts) & set(query.inputs.texts)
        drawn.add(support.inputs.texts)
    assert len(drawn) > 15


def test_shots_that_cannot_cover_and_types_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="meta_test.c: shots is 2, and 3 entity types.*raise shots to 3"):
        made(test=written("tweet", 40, ("PER", "LOC", "ORG")), shots=2, encode=False)
    with pytest.raises(UserError, match="no sentence of corpus tweet has an entity of type ORG"):
        made(rules={"classes": ["PER", "ORG"]}, encode=False)
    with pytest.raises(UserError, match="entity_f1"):
        made(rules={"metric": "accuracy"}, encode=False)
    with pytest.raises(UserError, match="stand behind task.max_length=2"):
        made(max_length=2)
    with pytest.raises(UserError, match="label_order"):
        made(label_order="shuffled", encode=False)


def test_classes_are_entity_types_and_others_are_outside():
    episode = made(rules={"classes": ["PER"]}).episodes("meta_test", 0)[0]
    assert episode.query.problem.tags == ("O", "B-PER", "I-PER")
    words = [word for text in episode.query.inputs.texts for word in text.split()]
    assert {w for w, t in zip(words, episode.query.targets.tolist(), strict=True) if t} <= set(NAMES["PER"])


def test_fixed_queries_are_the_other_corpus_and_the_same_in_every_episode():
    tasks = made(asked=written("asked", 9, seed=5))
    one, other = (tasks.episodes("meta_test", 0)[i] for i in (0, 1))
    assert [text.split()[0] for text in one.query.inputs.texts] == [f"asked{i}" for i in range(9)]
    assert one.query.inputs.texts == other.query.inputs.texts and one.support.inputs.texts != other.support.inputs.texts
    assert tasks.splits["meta_test"][0].judged_on == ("asked", "asked")
    with pytest.raises(UserError, match="asked has entities of type ORG, and tweet has none"):
        made(asked=written("asked", 9, ("PER", "ORG")), encode=False)
    few = made(asked=written("asked", 9, seed=5), rules={"fixed_queries": {"each": 4}}).episodes("meta_test", 0)[0]
    assert len(few.query.inputs.texts) == 4 and set(few.query.inputs.texts) < set(one.query.inputs.texts)


def test_a_long_sentence_is_cut_and_what_is_cut_is_missed():
    tasks = made(asked=written("asked", 8), max_length=3)
    task, query = tasks.splits["meta_test"][0], tasks.episodes("meta_test", 0)[0].query
    assert task.cut == 38 and all(len(text.split()) == 3 for text in query.inputs.texts)
    perfect = torch.nn.functional.one_hot(query.targets, 5).float() * 20
    right, found, there = query.problem.statistics(perfect, query.targets, Asked(query.inputs, query.gold))["entity_f1"]
    assert (right, found, there) == (4, 8, 8)  # of every second one the last word is not read


def test_a_sentence_without_a_token_is_adapted_on_by_none_and_missed_where_it_is_asked():
    asked, blank = written("asked", 4), " ".join(["\x01"] * 7)
    asked.texts[3] = blank
    test = written("tweet", 12)
    test.texts[5] = test.texts[8] = blank
    pieces = {"tokenizer": SubwordTokenizer(300, "wordpiece"), "max_length": 64, "leakage": "report"}
    tasks = made(asked=asked, test=test, **pieces)
    task = tasks.splits["meta_test"][0]
    assert task.unread == 3 and task.cut == 0
    drawn = {text for i in range(20) for text in tasks.episodes("meta_test", 0)[i].support.inputs.texts}
    assert len(drawn) == 10 and "" not in drawn
    query = tasks.episodes("meta_test", 0)[0].query
    assert len(query.inputs.texts) == 4 and len(query.targets) == 3 * 6 + 1
    perfect = torch.nn.functional.one_hot(query.targets, 5).float() * 20
    assert query.problem.statistics(perfect, query.targets, Asked(query.inputs, query.gold))["entity_f1"] == [3, 3, 4]
    with pytest.raises(UserError, match=r"task.meta_test.c has 10 texts; an episode takes .* = 12 of them"):
        made(test=test, **pieces, shots=7)


@pytest.mark.parametrize(
    "tokenizer", [WordTokenizer(80), SubwordTokenizer(400, "bpe"), SubwordTokenizer(90, "wordpiece")]
)
def test_a_word_is_its_first_token(tokenizer):
    texts = ["U.S. don't playing", "Ada !"]
    tokenizer.fit(["U.S. don't playing plays played Ada !"] * 3)
    spelled = {number: token for token, number in tokenizer.vocabulary.items()}
    (ids, places), (_, two) = tokenizer.words([text.split() for text in texts], 32)
    first = [spelled[int(ids[place])].removeprefix("Ġ") for place in places]
    assert len(places) == 3 and len(two) == 2
    assert all(word.lower().startswith(token) for word, token in zip(texts[0].split(), first, strict=True)), first
    cut, read = tokenizer.words([texts[0].split()], 2)[0]
    assert len(cut) == 2 and read.tolist() == [0]  # "u" and "." of the first word
    nothing = tokenizer.words([["Ada", "\x00", "!"]], 32)[0][1]
    assert len(nothing) == 3  # a word without a token of its own has a place, too


def test_learners_work_on_it():
    tasks = made(shots=6)
    encoder = BilstmAttentionEncoder(80, 8, 8, 4, 1)
    model = Model(encoder, tasks.heads())
    episodes = [tasks.episodes("meta_test", 0)[i] for i in range(2)]
    for learner in (ProtoNet("p"), Ridge("r", 0.1, 1.0)):
        judged = Engine(1).judge(learner, model, model.init(0) | learner.init(model, 0), episodes)
        assert all(0 <= each.statistics["score"] <= 1 and each.statistics["entity_f1"][2] >= 5 for each in judged)
    assert Engine(1).judge(Majority("m"), model, model.init(0), episodes)[0].statistics["entity_f1"][:2] == [0, 0]


def test_a_sentence_in_two_splits_is_a_leak():
    twice = written("news", 30)
    twice.texts[3], twice.tags[3] = written("tweet", 30).texts[3], written("tweet", 30).tags[3]
    with pytest.raises(LeakageError, match="tweet3"):
        made(train=twice, leakage="fail", encode=False)
    tasks = made(train=twice, encode=False)
    assert tasks.found["drop"] == {"meta_train/news": 1} and len(tasks.splits["meta_train"][0].texts) == 29


@pytest.mark.skipif(not (DATA / "ner").is_dir(), reason="MasakhaNER and LAFAND-MT are not in ../shared/data")
def test_the_gate_finds_test_sentences_of_masakhaner_on_target_sides_of_lafand():
    import pandas

    from metalingua.task.leakage import Pool, gate

    ner = pandas.read_parquet(DATA / "ner" / "masakhaner_v1.parquet", filters=[("lang", "in", ["ibo", "yor"])])
    ner = ner[ner.split == "test"]
    pairs = pandas.read_parquet(DATA / "mt" / "lafand_mt.parquet", filters=[("tgt_lang", "in", ["ibo", "yor"])])
    for lang, least in (("ibo", 200), ("yor", 300)):
        asked = [" ".join(tokens) for tokens in ner[ner.lang == lang].tokens]
        target = pairs[pairs.tgt_lang == lang].tgt.tolist()
        pools = [Pool("meta_train", "lafand", target), Pool("meta_test", "masakhaner", asked)]
        hit = {right for _, _, pool, right in gate(pools).pairs if pool is pools[1]}
        assert len(hit) >= least, (lang, len(hit))
