import pytest

from metalingua.corpus.corpus import CorpusError, Unreachable
from metalingua.corpus.folder import WANTED, Folder


def test_a_folder_is_itself(tmp_path):
    assert Folder(str(tmp_path)).folder() == tmp_path


def test_a_folder_that_is_not_there_is_not_asked_of_the_hub(tmp_path):
    with pytest.raises(CorpusError, match="source.path is .*nowhere: there is no such folder"):
        Folder(str(tmp_path / "nowhere")).folder()


def test_the_hub_is_asked_for_a_revision_and_for_data_alone(tmp_path, monkeypatch):
    asked = []

    def give(path, **settings):
        asked.append((path, settings))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", give)
    assert Folder("some/model", revision="abc").folder() == tmp_path
    assert asked == [("some/model", {"revision": "abc", "allow_patterns": WANTED})]
    assert not any(name in " ".join(WANTED) for name in (".py", ".bin"))


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def fail(path, **settings):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(Unreachable, match="source.path is some/model: .* no route; name a folder"):
        Folder("some/model").folder()
