import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from metalingua.corpus.corpus import CorpusError
from metalingua.task.leakage import Pool, gate, like_pairs, pools
from metalingua.text.normal import normal_form, words

ROOT = Path(__file__).parents[2]
WORDS = [f"w{i}" for i in range(99)]


def alike(texts):
    return list(like_pairs(texts))


def brute(texts, tenths=8):
    """The rule, said plainly, over all pairs."""
    split = [words(text) for text in texts]
    shingles = [{tuple(each[k : k + 5]) for k in range(max(1, len(each) - 4))} for each in split]

    def one(i, j):
        x, y = shingles[i], shingles[j]
        return "".join(split[i]) == "".join(split[j]) or 10 * len(x & y) >= tenths * len(x | y)

    return [(i, j) for i, j in combinations(range(len(texts)), 2) if split[i] and split[j] and one(i, j)]


@pytest.mark.parametrize(
    "pair",
    [
        ("A good film!", "a good film"),
        ("good-film", "goodfilm"),
        ("ＧＯＯＤ ﬁlm", "good film"),
        ("Straße", "STRASSE"),
        ("café", "cafe\u0301"),
        ("it's", "its"),
    ],
)
def test_texts_equal_but_for_case_form_and_signs_are_one(pair):
    assert alike(list(pair)) == [(0, 1)]


@pytest.mark.parametrize(
    "pair", [("a good film", "a good films"), ("film 1", "film 2"), ("café", "cafe"), ("good film", "film good")]
)
def test_short_texts_that_differ_are_two(pair):
    assert alike(list(pair)) == []


def test_texts_without_letters_are_alike_to_none():
    assert alike(["!", "?", "", "!", "...", "_", "a", "A!"]) == [(6, 7)]
    assert alike([]) == [] and alike(["!"]) == []


def test_a_similarity_of_exactly_four_fifths_is_alike_and_below_is_not():
    # n words make n - 4 shingles, and words added at the end only add shingles: Jaccard (n - 4) / (n + k - 4)
    for shorter, added, is_alike in [
        (8, 1, True),
        (12, 2, True),
        (7, 1, False),
        (11, 2, False),
        (24, 5, True),
        (24, 6, False),
    ]:
        n, k = shorter - 4, added
        assert (n / (n + k) >= 0.8) == is_alike
        pair = [" ".join(WORDS[:shorter]), " ".join(WORDS[: shorter + added])]
        assert alike(pair) == ([(0, 1)] if is_alike else []), (shorter, added)
        assert alike(pair[::-1]) == alike(pair)
    assert 4 / 5 == 0.8 and 20 / 25 == 0.8  # both exact cases above are cases of equality


@pytest.mark.parametrize("n", [4, 8, 12, 16, 20, 28, 36, 44, 60, 76, 400])
def test_four_fifths_is_alike_at_every_length(n):  # where a rounding of 0.8 n could lose it
    longer = [f"v{i}" for i in range(n * 5 // 4 + 4)]
    assert alike([" ".join(longer[: n + 4]), " ".join(longer)]) == [(0, 1)]
    assert alike([" ".join(longer[: n + 3]), " ".join(longer)]) == []


def test_words_in_another_order_are_another_text():
    text = WORDS[:30]
    assert alike([" ".join(text), " ".join(text[::-1])]) == []


@pytest.mark.parametrize("seed", range(6))
def test_the_pairs_are_those_of_the_plain_rule_over_all_pairs(seed):
    dice = random.Random(seed)
    texts = []
    for _ in range(300):
        if texts and dice.random() < 0.7:  # an earlier text, a little changed
            changed = dice.choice(texts).split()
            for _ in range(dice.randrange(3)):
                at = dice.choice([0, len(changed), dice.randrange(len(changed) + 1)])
                changed[at : at + dice.randrange(2)] = dice.choices([*WORDS[:5], "!"], k=dice.randrange(2))
            texts.append(dice.choice([str, str.upper])(" ".join(changed)))
        else:
            few, length = dice.choice([2, 5, 20, 99]), dice.choice([0, 1, 3, 5, 9, 16, 30, 60])
            texts.append(" ".join(dice.choices(WORDS[:few], k=length)))
    expected = brute(texts)
    assert alike(texts) == expected
    near = [(i, j) for i, j in expected if normal_form(texts[i]) != normal_form(texts[j])]
    assert len(near) > 20 and len(expected) - len(near) > 20  # both rules are at work ...
    assert len(brute(texts, 7)) > len(expected) > len(brute(texts, 9))  # ... and the threshold is


A, B, C, D = (" ".join(WORDS[at : at + 12]) for at in (0, 20, 40, 60))


def near(text, k=1):
    return text + " " + " ".join(f"x{i}" for i in range(k))


def found(*pools):
    pools = [Pool(*each) for each in pools]
    leakage = gate(pools)
    return leakage, leakage.report(pools)


def test_what_is_in_two_splits_is_dropped_from_the_earlier():
    leakage, report = found(
        ("meta_test", "imdb", [A, near(B)]),
        ("meta_train", "films", [C, A.upper(), B]),
        ("meta_validation", "shops", [near(C), D]),
    )
    assert leakage.drop == {1: {0, 1, 2}}
    assert report["drop"] == {"meta_train/films": 3}
    assert report["pairs"] == {
        "meta_train/films ~ meta_test/imdb": 2,
        "meta_train/films ~ meta_validation/shops": 1,
    }
    assert len(leakage.pairs) == 3 == len(report["examples"])
    assert any("meta_train/films: 'W0 W1" in each and "meta_test/imdb: 'w0 w1" in each for each in report["examples"])


def test_validation_gives_way_to_test():
    leakage, _ = found(("meta_validation", "films", [A, B]), ("meta_test", "films", [A, C]))
    assert leakage.drop == {0: {0}}


def test_of_a_group_within_one_corpus_one_stays():
    leakage, report = found(("meta_train", "films", [A, B, A, A + "!", near(B), C]))
    assert leakage.drop == {0: {2, 3, 4}}
    assert report["pairs"] == {"within meta_train/films": 4}  # three pairs of A, one of B


def test_what_is_alike_only_to_a_dropped_text_stays():
    chain = [A, near(A, 2), near(A, 4)]
    assert alike(chain) == [(0, 1), (1, 2)]
    assert found(("meta_train", "films", chain))[0].drop == {0: {1}}


def test_a_text_dropped_for_another_split_takes_no_twin_with_it():
    leakage, _ = found(("meta_train", "films", [A, near(A, 4), near(A, 2)]), ("meta_test", "imdb", [A]))
    # A ~ near(A, 2) ~ near(A, 4), A not ~ near(A, 4): the first and the third go to the test split, the second may stay
    assert leakage.drop == {0: {0, 2}}


def test_two_corpora_of_one_split_may_share_a_text():
    leakage, report = found(("meta_train", "films", [A]), ("meta_train", "shops", [A]))
    assert not leakage.pairs and not leakage.drop and report == {"pairs": {}, "drop": {}, "examples": []}
    assert found(("meta_train", "films", [A]), ("meta_validation", "shops", [A]))[0].pairs


def test_pairs_of_two_splits_are_shown_first():
    _, report = found(("meta_train", "films", [*[A] * 9, B]), ("meta_test", "imdb", [B]))
    assert len(report["examples"]) == 5 and "~ meta_test/imdb" in report["examples"][0]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_alike_is_left_after_dropping(seed):
    dice = random.Random(seed)
    base = [" ".join(dice.choices(WORDS, k=dice.randrange(5, 20))) for _ in range(80)]

    def some():
        return [near(dice.choice(base), dice.randrange(3)) for _ in range(40)]

    pools = [
        Pool(split, corpus, some())
        for split in ("meta_train", "meta_validation", "meta_test")
        for corpus in ("films", "shops")
    ]
    leakage = gate(pools)
    assert len(leakage.pairs) > 50

    def without(drop):
        kept = ([text for i, text in enumerate(pool.texts) if i not in drop[k]] for k, pool in enumerate(pools))
        return [Pool(pool.split, pool.corpus, texts) for pool, texts in zip(pools, kept, strict=True)]

    left = without(leakage.drop)
    assert not gate(left).pairs and all(pool.texts for pool in left)
    assert gate(without({k: set(sorted(leakage.drop[k])[1:]) for k in range(len(pools))})).pairs


@pytest.mark.registry
def test_rotten_tomatoes_and_vaders_movie_sentences_overlap():
    columns = []
    for name in ("rotten_tomatoes", "movie_sentences"):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("train", [f"+corpus@spy={name}", f"corpus.cache={ROOT / 'data'}"])
        try:
            columns.append(instantiate(cfg.spy).load()["text"][:])
        except CorpusError as error:
            pytest.skip(f"{name} cannot be loaded: {error}")
    ours, vaders = (({normal_form(text) for text in texts} - {""}) for texts in columns)
    assert len(ours & vaders) == 8467
    pools = [Pool("meta_train", "movie_sentences", columns[1]), Pool("meta_test", "rotten_tomatoes", columns[0])]
    leakage = gate(pools)
    report = leakage.report(pools)
    assert report["pairs"]["meta_train/movie_sentences ~ meta_test/rotten_tomatoes"] >= 8467
    kept = [text for i, text in enumerate(columns[1]) if i not in leakage.drop[0]]
    assert not {normal_form(text) for text in kept} & ours and len(kept) > 1000


def test_of_a_corpus_the_gate_sees_every_column_of_texts_and_a_text_with_several_questions_once():
    columns = {"text": ["a b", "c d", "e f"], "target": ["u v", "w x", "y z"], "label": ["1", "2", "3"]}
    found = list(pools("meta_train", "pairs", columns, np.array([0, 2])))
    assert [pool.texts for pool, _ in found] == [["a b", "e f"], ["u v", "y z"]]
    assert [[each.tolist() for each in rows] for _, rows in found] == [[[0], [2]], [[0], [2]]]
    asked = {"text": ["a b", "c d", "a b"], "question": ["what", "who", "why"]}
    ((pool, rows),) = pools("meta_test", "asked", asked, np.array([0, 1, 2]))
    assert pool.texts == ["a b", "c d"] and [each.tolist() for each in rows] == [[0, 2], [1]]
