"""The Hub, as far as it can be tested without one: what is asked of it, and what is said when it does not answer."""

from pathlib import Path

import datasets
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, List, Value
from hydra.utils import instantiate

from metalingua.corpus.corpus import Corpus, CorpusError, Unreachable
from metalingua.corpus.hub import Hub
from metalingua.corpus.table import Columns
from metalingua.corpus.tagged import TaggedColumns

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONF = Path(__file__).parents[2] / "conf" / "corpus"
TEXT = Value("string")
COLUMNS = Columns("content", "label", label_names={0: "negative", 1: "positive"})


def corpus(cache, hub, files=None):
    return Corpus("far", "d", "en", "hub", str(cache), "", "", labels=["negative", "positive"], hub=hub, files=files)


def test_what_is_asked_and_what_comes_back(tmp_path, monkeypatch):
    asked = []

    def load_dataset(path, config, **how):
        asked.append((path, config, how))
        text, label = datasets.Value("string"), datasets.ClassLabel(names=["neg", "pos"])
        features = datasets.Features(content=text, label=label, title=text)
        return datasets.Dataset.from_dict({"content": ["x", "y"], "label": [1, 0], "title": ["", ""]}, features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    far = corpus(tmp_path, Hub("who/what", COMMIT, "train[:2]", COLUMNS, config="plain"))
    assert not far.present()
    assert far.load()[:] == {"text": ["x", "y"], "label": ["positive", "negative"]}
    far.load()
    assert asked == [("who/what", "plain", {"split": "train[:2]", "revision": COMMIT})]
    assert far.present()


def test_rows_of_the_hub_are_checked_too(tmp_path, monkeypatch):
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict({"content": ["x", ""], "label": [2, 1]})
    )
    with pytest.raises(CorpusError, match=r"(?s)2 of 2.*who/what\[train\]:row 0: label is 2.*row 1: text is empty"):
        corpus(tmp_path, Hub("who/what", COMMIT, "train", COLUMNS)).load()


@pytest.mark.parametrize("error", [
    ConnectionError("offline mode"),
    ValueError('Unknown split "trian"'),
    datasets.exceptions.DatasetNotFoundError("gone"),
])  # fmt: skip
def test_no_hub(tmp_path, monkeypatch, error):
    def load_dataset(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    far = corpus(tmp_path, Hub("who/what", COMMIT, "train", COLUMNS), files=Hub("also/there", COMMIT, "train", COLUMNS))
    with pytest.raises(Unreachable) as refused:
        far.load()
    for part in ("corpus far", "hub.path who/what", COMMIT, "train", str(error), "HF_HUB_OFFLINE", "others: files"):
        assert part in str(refused.value)
    assert not list(tmp_path.rglob("*.arrow"))


def test_the_library_itself_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match="hub.path who/what at revision"):
        corpus(tmp_path, Hub("who/what", COMMIT, "train", COLUMNS)).load()


@pytest.mark.parametrize("revision", ["main", "", COMMIT[:-1], COMMIT.upper()])
def test_only_a_commit_is_a_revision(revision):
    with pytest.raises(CorpusError, match="hub.revision is .* 40 hexadecimal digits"):
        Hub("who/what", revision, "train", COLUMNS)


# Data sets of the Hub that our yamls name, as their pages give their features: column -> (feature, values of two rows)
ANSWERS = [{"text": ["Ada"], "answer_start": [4]}, {"text": ["May"], "answer_start": [3]}]
ASKED = {"context": (TEXT, ["Now Ada came.", "In May."]), "question": (TEXT, ["Who?", "When?"]),
         "answers": ({"text": List(TEXT), "answer_start": List(Value("int32"))}, ANSWERS)}  # fmt: skip
PAIRS = {"sentence1": (TEXT, ["a", "b"]), "sentence2": (TEXT, ["c", "d"])}
THERE = {
    "squad": {**ASKED, "title": (TEXT, ["Ada", "May"])},
    "xquad": ASKED,
    "stsb": {**PAIRS, "similarity_score": (Value("float32"), [5.0, 2.5])},
    "clinc150": {"text": (TEXT, ["wake me", "who won"]), "intent": (ClassLabel(names=["alarm", "oos"]), [0, 1])},
}


@pytest.mark.parametrize("name", THERE)
def test_a_corpus_of_ours_reads_what_the_hub_has(name, tmp_path, monkeypatch):
    asked = []

    def load_dataset(path, config, **how):
        asked.append(config)
        features = Features({column: feature for column, (feature, _) in THERE[name].items()})
        return Dataset.from_dict({column: values for column, (_, values) in THERE[name].items()}, features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text()) | {"source": "hub", "cache": str(tmp_path)}
    rows = instantiate(settings, _convert_="all").load().to_list()
    config = settings["hub"].get("config")
    names = list(config) if isinstance(config, dict) else [None]
    assert asked == (list(config.values()) if isinstance(config, dict) else [config])
    if name == "clinc150":
        assert rows == [{"text": "wake me", "label": "alarm"}]  # the other is out of scope
    elif name == "stsb":
        both = [("a / c", 5.0), ("b / d", 2.5)]
        assert rows == [{"text": text, "rating": rating, "domain": one} for one in names for text, rating in both]
    else:
        assert [row["starts"] for row in rows] == [[4], [3]] * len(names)
        own = ["Ada", "May"] if name == "squad" else [one for one in names for _ in range(2)]
        assert [row["domain"] for row in rows] == own


def test_numbers_of_classes_are_read_as_names(tmp_path, monkeypatch):
    tags = List(ClassLabel(names=["O", "B-PER"]))
    features = Features(tokens=List(TEXT), tags=tags)
    there = Dataset.from_dict({"tokens": [["Ada", "came"]], "tags": [[1, 0]]}, features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: there)
    hub = Hub("who/what", COMMIT, "train", TaggedColumns("tokens", "tags"))
    (row,) = Corpus("far", "d", "en", "hub", str(tmp_path), "", "", hub=hub).load().to_list()
    assert row["tags"] == ["B-PER", "O"]


def test_a_number_that_is_no_class_stays_a_number(tmp_path, monkeypatch):
    features = Features(content=TEXT, label=ClassLabel(names=["negative", "positive"]))
    there = Dataset.from_dict({"content": ["x", "y"], "label": [1, -1]}, features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: there)
    with pytest.raises(CorpusError, match=r"1 of 2.*\n.*row 1: label is -1; it can be negative, positive"):
        corpus(tmp_path, Hub("who/what", COMMIT, "test", Columns("content", "label"))).load()
