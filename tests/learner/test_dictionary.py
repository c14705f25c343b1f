"""Translation by a lexicon: words by hand, a whole translation through the beam, files that are none."""

import re
from dataclasses import dataclass, replace

import pandas
import pytest
import torch
from datasets import Dataset
from proof import Proof
from table import COLUMNS
from torch.testing import assert_close

from metalingua.learner.dictionary import NO_PARTS, Dictionary, lexicon
from metalingua.problem.classification import Classification
from metalingua.problem.problem import Asked
from metalingua.task.episode import Episode
from metalingua.task.tasks import Tasks
from metalingua.text.joint import JointTokenizer

ROWS = [("en", "de", "dog", "Hund", 1), ("en", "de", "dog", "Köter", 2), ("en", "de", "Ice  cream", "Eis", 0),
        ("en", "de", "ice", "eisig", 0), ("en", "de", "the", "der", 0), ("en", "de", "the", "die", 0),
        ("en", "de", "sees", "blickt", 3), ("en", "de", "sees", "sieht", 0.5), ("en", "fr", "cat", "chat", 0),
        ("en", "yor-000", "dog", "ajá", 0), ("xx", "de", "gap", "Lücke", 0)]  # fmt: skip
NAMES = ("src_lang", "tgt_lang", "src", "tgt", "rank")
SENTENCES = {"The dog sees.": "Der Hund sieht.", "Ice cream!": "Eis!", "the Ice": "der eisig", "Bo sees": "Bo sieht",
             "dog, dog": "Hund, Hund", "A dog sees": "A Hund sieht", "the gap": "der gap", "sees ice": "sieht eisig",
             "Sees the dog": "Sieht der Hund", "ice cream dog": "Eis Hund"}  # fmt: skip


@dataclass
class Parallel:
    """A corpus of SENTENCES."""

    name: str = "one"
    domain: str = "words"
    language: str = "en"
    labels = rating_range = label_words = None

    def counted(self):
        return {}

    def checksum(self):
        return self.name

    def load(self):
        return Dataset.from_dict({"text": list(SENTENCES), "target": list(SENTENCES.values()),
                                  "target_language": ["de"] * len(SENTENCES)})  # fmt: skip


def written(path, rows=ROWS, names=NAMES, **how):
    table = pandas.DataFrame(rows, columns=list(names))
    if path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, **how)
    return str(path)


def made(*paths, smoothing=1, **more):
    return Dictionary("dictionary", paths, smoothing, **more)


@pytest.fixture(scope="module")
def episode() -> Episode:
    given = {"known": {"corpus": "one"}}
    tasks = Tasks({"one": Parallel()}, given, given, {"new": {"corpus": "one", "beam": 2}}, ways=2, shots=4, queries=6,
                  max_length=24, label_order="fixed", held_out="nothing", leakage="report").read()  # fmt: skip
    tasks.encode(JointTokenizer(400, ["de"]))
    return tasks.episodes("meta_test", 0)[0]


class TestDictionary(Proof):
    learner = made("none.csv")
    lacks = dict.fromkeys(COLUMNS, "it translates, and the tasks of these proofs have classes")


def test_words_by_hand(tmp_path):
    found = lexicon((written(tmp_path / "words.csv"),), None, "utf-8", "en", "de")
    assert found.entries == {"dog": "Hund", "ice cream": "Eis", "ice": "eisig", "the": "der", "sees": "sieht"}
    for text, said in {
        **SENTENCES,
        "ice, cream": "eisig, cream",  # no entry goes over a comma
        "DOG ice\ncream": "Hund Eis",
        "'the well-known dog'": "'der well-known Hund'",
        "doggy": "doggy",
        "...": "...",
    }.items():
        assert found.translated(text) == said


@pytest.mark.parametrize("name", ["words.jsonl", "words.parquet", "latin.csv"])
def test_tables_of_any_format_say_the_same(tmp_path, name):
    plain = written(tmp_path / "words.csv")
    rows = [row for row in ROWS if row[1] == "de"] if name == "latin.csv" else ROWS
    encoding = "latin-1" if name == "latin.csv" else "utf-8"
    other = written(tmp_path / name, rows, **({"encoding": encoding} if name == "latin.csv" else {}))
    assert lexicon((other,), None, encoding, "en", "de").entries == lexicon((plain,), None, "utf-8", "en", "de").entries


def test_several_files_are_one_lexicon(tmp_path):
    paths = written(tmp_path / "a.csv", ROWS[:1]), written(tmp_path / "b.csv", [("en", "de", "dog", "Dogge", 0)])
    assert lexicon(paths, None, "utf-8", "en", "de").entries == {"dog": "Dogge"}


def test_a_whole_translation_through_the_beam(tmp_path, episode):
    query, learner = episode.query, made(written(tmp_path / "words.csv"))
    assert learner.refuses(query.problem) is None
    predictor = learner.adapt(None, {}, episode.support)
    said = query.problem.translations(Asked(query.inputs, query.gold, predictor.outputs))
    assert said == [SENTENCES[text] for text in query.inputs.texts] == list(query.gold)
    outputs = predictor.outputs(query.inputs)
    assert torch.equal(outputs.argmax(1), query.targets) and outputs.isfinite().all()
    assert_close(outputs.exp().sum(1), torch.ones(len(outputs)))


def test_a_probability_by_hand(tmp_path, episode):
    query, support = episode.query, episode.support
    predictor = made(written(tmp_path / "words.csv"), smoothing=0.5).adapt(None, {}, support)
    found, end = predictor.outputs(query.inputs)[0].exp(), query.problem.end
    counts = torch.bincount(support.targets, minlength=400) + 1.0
    counts[end] = 1
    said = int(query.targets[0])
    assert float(found[said]) == pytest.approx((1 + 0.5 * float(counts[said] / counts.sum())) / 1.5, rel=1e-5)
    assert float(found[end]) == pytest.approx(0.5 * float(1 / counts.sum()) / 1.5, rel=1e-5) == float(found.min())
    assert int((support.targets == end).sum()) == 4  # though it is said in every support text


def test_of_the_support_set_it_knows_frequencies_alone(tmp_path, episode):
    learner, support, query = made(written(tmp_path / "words.csv")), episode.support, episode.query.inputs
    turned = torch.arange(len(support.targets)).flip(0)
    order = replace(
        support, inputs=replace(support.inputs, at=support.inputs.at[turned]), targets=support.targets[turned]
    )
    other = replace(support, targets=torch.full_like(support.targets, 9))
    one, same, else_ = (learner.adapt(None, {}, each).outputs(query) for each in (support, order, other))
    assert torch.equal(one, same) and not torch.equal(one, else_)
    assert torch.equal(one.argmax(1), else_.argmax(1))


def test_a_lexicon_is_read_once(tmp_path, episode):
    path = tmp_path / "once.csv"
    learner = made(written(path))
    assert learner.refuses(episode.query.problem) is None
    path.unlink()
    assert made(str(path)).adapt(None, {}, episode.support).outputs(episode.query.inputs).isfinite().all()


def test_languages_by_other_codes(tmp_path, episode):
    path = written(tmp_path / "words.csv")

    def refused(language, **codes):
        return made(path, codes=codes).refuses(replace(episode.query.problem, language=language))

    assert refused("yor") is None and refused("de_Latn") is None  # what stands behind a code may be missing
    assert refused("deu", deu="de") is None and refused("yo", yo="yor-000") is None
    assert "has no words from en into deu; it has some from en into de, fr, yor-000: " in refused("deu")
    assert "+learner.codes.deu=CODE" in refused("deu")
    unknown = made(path).refuses(replace(episode.query.problem, source="zh_Hans"))
    assert "no words from zh into de; it has some from en, xx: " in unknown and "+learner.codes.zh_Hans=" in unknown


@pytest.mark.parametrize(("rows", "names", "says"), [
    (ROWS, (*NAMES[:3], "translation", "rank"), "csv:2: there is no column 'tgt' .*has src_lang, .*translation, rank"),
    ([*ROWS, ("en", "de", "old", "alt", "often")], NAMES, "csv:13: rank is 'often' .* must be a number"),
    ([("en", "de", "old", " ", 0)], NAMES, "csv:2: src is 'old' and tgt is ' ' .*mend the row"),
    ([], NAMES, "holds no row"),
])  # fmt: skip
def test_what_is_no_lexicon_is_refused_and_the_row_named(tmp_path, episode, rows, names, says):
    path = written(tmp_path / "bad.csv", rows, names)
    reason = made(path).refuses(episode.query.problem)
    assert re.search(says, reason), reason
    assert made(written(tmp_path / "good.csv")).refuses(episode.query.problem) is None


def test_bad_rows_of_other_languages_stop_nobody(tmp_path, episode):
    path = written(tmp_path / "words.csv", [*ROWS, ("en", "fr", "", "vide", "often")])
    assert made(path).refuses(episode.query.problem) is None


def test_a_file_that_is_not_there_is_named_with_the_way_out(episode):
    reason = made("nowhere.parquet").refuses(episode.query.problem)
    assert "learner.paths: nowhere.parquet: No such file" in reason and "learner.paths=[FILE]" in reason
    assert "src_lang, tgt_lang, src, tgt, rank" in reason


def test_a_format_that_nobody_reads_is_named(tmp_path, episode):
    path = written(tmp_path / "words.csv")
    assert "learner.format is 'xls'" in made(path, format="xls").refuses(episode.query.problem)


def test_a_problem_of_whole_texts_is_refused():
    assert made("nowhere.csv").refuses(Classification(2)) == NO_PARTS
