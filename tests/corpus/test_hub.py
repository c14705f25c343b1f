"""The Hub, as far as it can be tested without one: what is asked of it, and what is said when it does not answer."""

import datasets
import pytest

from metalingua.corpus.corpus import Corpus, CorpusError, Unreachable
from metalingua.corpus.hub import Hub
from metalingua.corpus.table import Columns

COMMIT = "0123456789abcdef0123456789abcdef01234567"
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
