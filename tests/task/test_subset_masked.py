import re
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from toy import TinyCorpus, prose, reviews

from metalingua.error import UserError
from metalingua.problem.classification import Classification
from metalingua.task.leakage import LeakageError
from metalingua.task.sentences import SENTENCE, Sentences, cut
from metalingua.task.subset_masked import SubsetMasked
from metalingua.task.tasks import Tasks
from metalingua.text.normal import position, words
from metalingua.text.subword import SubwordTokenizer
from metalingua.text.word import WordTokenizer

SETTINGS = {"ways": 3, "shots": 2, "queries": 3, "max_length": 9, "label_order": "fixed", "held_out": "class",
            "leakage": "drop"}  # fmt: skip
TEXTS = prose()


def corpora(texts=TEXTS, **more):
    return {"text": TinyCorpus("text", texts), "films": TinyCorpus("films", *reviews("film", 60)), **more}


def masked(**settings):
    return SubsetMasked(**{"corpus": "text", "band": [0, 0.5], **settings})


def build(held=None, tokenizer=None, meta_train=None, meta_validation=None, meta_test=None, **settings):
    tasks = Tasks(
        corpora=held or corpora(),
        meta_train=meta_train or {"words": masked(share=[0, 0.6], words=[0, 0.5])},
        meta_validation=meta_validation or {"held": masked(share=[0.6, 0.8], words=[0.5, 0.75], ways=2)},
        meta_test=meta_test or {"new": masked(share=[0.8, 1], words=[0.75, 1], ways=2)},
        **{**SETTINGS, **settings},
    ).read()
    tasks.encode(tokenizer or WordTokenizer(200, mask=True))
    return tasks


def plain(episode):
    return [(half.inputs.texts, half.inputs.token_ids.tolist(), half.targets.tolist(), half.labels.tolist())
            for half in (episode.support, episode.query)]  # fmt: skip


def test_a_text_is_cut_into_sentences_and_short_ones_are_left_out():
    text = "It cost 3.50 there. Was it so?  Yes!\nNo, said the old man."
    assert cut(text, SENTENCE, 1) == ["It cost 3.50 there.", "Was it so?", "Yes!", "No, said the old man."]
    assert cut(text, SENTENCE, 4) == ["It cost 3.50 there.", "No, said the old man."]
    assert cut("one; two", ";", 1) == ["one", " two"]


def test_sentences_are_kept_as_one_row_of_ids():
    sentences = Sentences(TinyCorpus("text", TEXTS).load(), SENTENCE, 5)
    strings = [each for text in TEXTS for each in cut(text, SENTENCE, 5)]
    tokenizer = WordTokenizer(200).fit(TEXTS)
    sentences.encode(tokenizer, 9)
    assert len(sentences) == len(strings) > 700 and not any("Too short" in each for each in strings)
    ids = tokenizer.encode(strings, 9)
    assert all(np.array_equal(sentences[i], ids[i]) for i in range(len(strings)))
    some = np.array([5, 3, 700])
    tokens, owner = sentences.tokens(some)
    assert [tokens[owner == i].tolist() for i in range(3)] == [ids[i].tolist() for i in some]
    which = np.isin(np.arange(len(strings)), some)
    assert list(sentences.strings(which)) == [strings[i] for i in sorted(some)]
    assert [position(TEXTS[i]) for i in sentences.text] == sentences.place.tolist()


def test_an_episode_hides_every_occurrence_of_its_words():
    tasks = build(max_length=20)
    (task,) = tasks.splits["meta_train"]
    plainly = {" ".join(task._words[task.sentences[i]]) for i in task.members}
    repeated = 0
    for index in range(40):
        episode = tasks.episodes("meta_train", seed=0)[index]
        assert episode.support.problem == Classification(3)
        word_of = {}
        for half, count in ((episode.support, 2), (episode.query, 3)):
            assert Counter(half.targets.tolist()) == {0: count, 1: count, 2: count}
            for text, label, own in zip(half.inputs.texts, half.targets.tolist(), half.labels, strict=True):
                word = task.classes[own]
                assert word_of.setdefault(label, word) == word
                assert "[MASK]" in text and word not in text.split()
                assert text.replace("[MASK]", word) in plainly
                repeated += text.split().count("[MASK]") > 1
            hidden = (half.inputs.token_ids == 2).any(1)
            assert hidden.all()
        assert len(set(word_of.values())) == 3
        texts = [*episode.support.inputs.texts, *episode.query.inputs.texts]
        assert len(set(texts)) == 15
    assert repeated > 0  # so that one mask a text would be seen


@pytest.mark.parametrize(("kind", "size"), [("bpe", 420), ("wordpiece", 180)])
def test_of_pieces_whole_words_alone_are_hidden(kind, size):
    longer = [re.sub("n ", "num ", text) if i % 2 else text for i, text in enumerate(TEXTS)]  # "ban", or "banum"
    tasks = build(corpora(longer), SubwordTokenizer(size, kind), meta_train={"words": masked(words=[0, 1])},
                  max_length=60, held_out="nothing")  # fmt: skip
    (task,) = tasks.splits["meta_train"]
    assert "ban" in task.classes and {"um", "##um", "an"}.isdisjoint(task.classes)
    plainly = {tuple(words(task.written(task.sentences[i]))) for i in task.members}
    begun = 0
    for index in range(60):
        episode = tasks.episodes("meta_train", seed=0)[index]
        for half in (episode.support, episode.query):
            for text, own in zip(half.inputs.texts, half.labels, strict=True):
                word = task.classes[own]
                assert "[MASK]" in text and word not in words(text)
                assert tuple(words(text.replace("[MASK]", word))) in plainly
                begun += f"{word}um" in words(text)
    assert begun > 0  # a longer word that begins with it stays


def test_no_sentence_is_in_both_halves_even_under_two_words():
    tasks = build(max_length=20, ways=5)
    (task,) = tasks.splits["meta_train"]
    for index in range(40):
        episode = tasks.episodes("meta_train", seed=1)[index]
        whole = [text.replace("[MASK]", task.classes[own]) for half in (episode.support, episode.query)
                 for text, own in zip(half.inputs.texts, half.labels, strict=True)]  # fmt: skip
        assert len(set(whole)) == 25


def test_episodes_are_a_function_of_seed_split_and_index():
    first, again = build(), build()
    for split in first.splits:
        a, b = first.episodes(split, 3), again.episodes(split, 3)
        assert [plain(a[i]) for i in range(6)] == [plain(b[i]) for i in reversed(range(6))][::-1]
        assert plain(a[0]) != plain(a[1]) and plain(a[0]) != plain(first.episodes(split, 4)[0])


def test_a_word_has_a_new_label_every_episode():
    (task,) = (tasks := build()).splits["meta_train"]
    labels = defaultdict(set)
    for index in range(60):  # though the label order of all other tasks is fixed
        support = tasks.episodes("meta_train", 0)[index].support
        for own, label in zip(support.labels, support.targets.tolist(), strict=True):
            labels[task.classes[own]].add(label)
    assert sum(len(each) > 1 for each in labels.values()) > 20


def test_words_and_texts_of_the_splits_are_apart():
    tasks = build()
    words = {split: set(task.classes) for split, (task,) in tasks.splits.items()}
    forms = {split: set(task.sentences.form[task.members]) for split, (task,) in tasks.splits.items()}
    assert all(words.values()) and all(forms.values())
    assert sum(map(len, words.values())) == len(set.union(*words.values()))
    assert sum(map(len, forms.values())) == len(set.union(*forms.values()))
    assert all(position(word) < 0.5 for word in words["meta_train"])
    with pytest.raises(LeakageError, match="share the class"):
        build(meta_test={"new": masked(share=[0.8, 1], words=[0.4, 1], ways=2)})


def test_frequent_and_rare_words_are_never_hidden():
    (task,) = build(meta_train={"words": masked(share=[0, 0.6])}, held_out="nothing").splits["meta_train"]
    assert "the" not in task.classes and len(task.classes) > 50
    (task,) = build(meta_train={"words": masked(share=[0, 0.6], band=[0, 1])}, held_out="nothing").splits["meta_train"]
    assert "the" in task.classes and not any(each.startswith(("[", ".")) for each in task.classes)
    with pytest.raises(UserError) as caught:
        build(meta_train={"words": masked(share=[0, 0.6], band=[0, 0.001])}, held_out="nothing")
    message = str(caught.value)
    assert message.startswith("task.meta_train.words has 0 words with shots + queries = 5 sentences or more")
    assert "takes 3: lower task.shots" in message


def test_a_tokenizer_without_a_mask_is_refused():
    with pytest.raises(UserError, match="task.meta_train.words hides words.*set text=masked_word"):
        build(tokenizer=WordTokenizer(200))


def test_a_sentence_of_a_later_split_is_left_out_of_the_earlier_one():
    films, shops = TinyCorpus("films", *reviews("film", 60)), TinyCorpus("shops", *reviews("shop", 60))
    told = next(text for text in films.texts if len(text.split()) > 4).capitalize() + "."
    twice = "Bar ber bir bor bur the. Bar ber bir, bor bur the!"
    held = corpora([*TEXTS, f"{told} {TEXTS[0]}", told, twice], films=films, shops=shops)

    def parted(leakage):
        tasks = build(
            held, meta_train={"words": masked()}, meta_validation={"shops": {"corpus": "shops", "ways": 2}},
            meta_test={"films": {"corpus": "films", "ways": 2}}, held_out="domain", leakage=leakage,
        )  # fmt: skip
        (task,) = tasks.splits["meta_train"]
        return tasks, task.sentences.form[task.members].tolist()

    tasks, forms = parted("drop")
    assert tasks.found["sentences"] == {"read": len(forms) + 1, "drop": {"meta_train/words": 1}}
    assert position(told) not in forms
    assert forms.count(position(twice.split(".")[0])) == 1  # twice in one split: once
    assert position(told) in parted("report")[1]
    with pytest.raises(LeakageError, match="meta_train/words"):
        parted("fail")


def test_the_vocabulary_and_the_frequencies_are_of_meta_training_text_alone():
    tokenizer = WordTokenizer(200, mask=True)
    spy = [text.replace("the", "spy") if position(text.replace("the", "spy")) >= 0.6 else text for text in TEXTS]
    tasks = build(corpora(spy), tokenizer, held_out="nothing")
    assert "spy" not in tokenizer.vocabulary and "the" in tokenizer.vocabulary and "short" not in tokenizer.vocabulary
    (task,) = tasks.splits["meta_train"]
    tokens, _ = task.sentences.tokens(task.members)
    count = np.bincount(tokens, minlength=200)
    torch.testing.assert_close(tasks.frequency, torch.from_numpy(count / count.sum()).float())


def test_weights_say_how_often_a_corpus_is_drawn():
    more = {name: TinyCorpus(name, *reviews(name, 60)) for name in ("shops", "tweets")}

    def shares(**weight):
        tasks = build(
            corpora(**more), ways=2, held_out="domain",
            meta_train={"words": masked(**weight), "films": {"corpus": "films"}},
            meta_validation={"shops": {"corpus": "shops"}}, meta_test={"tweets": {"corpus": "tweets"}},
        )  # fmt: skip
        episodes = tasks.episodes("meta_train", 0)
        return Counter(episodes[i].task for i in range(400))["words"] / 400

    assert abs(shares() - 1 / 2) < 0.08
    assert abs(shares(weight=3) - 3 / 4) < 0.08
