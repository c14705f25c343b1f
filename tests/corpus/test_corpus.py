"""The corpus itself: settings, the Arrow cache, checksum, what it refuses; and every yaml of conf/corpus builds."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from metalingua.corpus.corpus import Corpus, CorpusError, Unreachable
from metalingua.corpus.files import Files
from metalingua.corpus.table import Columns
from metalingua.error import UserError

CONF = Path(__file__).parents[2] / "conf" / "corpus"


class Written:
    """A source whose rows the test writes, which counts how often it is read."""

    def __init__(self, rows, fails=None):
        self.table, self.fails, self.reads = rows, fails, 0

    def spec(self):
        return {"rows": self.table}

    def present(self, cache):
        return self.fails is None

    def rows(self, cache, labels, rating_range):
        self.reads += 1
        if self.fails:
            raise self.fails
        return [self.table]


def corpus(cache, **changes):
    settings = {
        "name": "mine", "domain": "d", "language": "en", "licence": "", "citation": "",
        "source": "files", "cache": str(cache),
        "labels": ["negative", "positive"],
        "files": Written({"text": ["good", "bad"], "label": ["positive", "negative"]}),
    }  # fmt: skip
    return Corpus(**{**settings, **changes})


def built(name, cache, *overrides, source="pypi"):
    own = {"pypi": "files", "hub": "hub"}
    top = OmegaConf.create({"corpus": {"source": source, "own": own, "cache": str(cache)}})
    top.one = OmegaConf.load(CONF / f"{name}.yaml")
    return instantiate(OmegaConf.merge(top, OmegaConf.from_dotlist(list(overrides))).one)


def test_the_schema_and_a_second_load_that_reads_only_arrow(tmp_path):
    first = corpus(tmp_path)
    loaded = first.load()
    assert loaded.features.to_dict() == {c: {"dtype": "string", "_type": "Value"} for c in ("text", "label")}
    assert loaded[:] == {"text": ["good", "bad"], "label": ["positive", "negative"]}
    first.load()
    assert first.files.reads == 1
    again = corpus(tmp_path, files=Written(first.files.table, fails=Unreachable("no network")))
    assert again.present() and again.load()[:] == loaded[:]
    assert again.files.reads == 0


def test_ratings_are_float64(tmp_path):
    rated = corpus(
        tmp_path, labels=None, rating_range=[-4, 4], files=Written({"text": ["a", "b"], "rating": [1.5, -3.0]})
    )
    assert rated.load().features["rating"].dtype == "float64"
    assert rated.load()["rating"][:] == [1.5, -3.0]


def test_unlabelled_texts_are_rows_without_an_answer(tmp_path):
    (tmp_path / "a.txt").write_text("One text.\n\n two, of all \n")
    bare = {"labels": None, "rating_range": None}
    lines = corpus(tmp_path, **bare, files=Files(str(tmp_path / "a.txt"), Columns("text")))
    assert lines.load()[:] == {"text": ["One text.", " two, of all "]}
    assert len(lines.checksum()) == 64
    (tmp_path / "a.csv").write_text("text,label\nOne text.,positive\n")
    table = Files(str(tmp_path / "a.csv"), Columns("text", "label"))
    assert corpus(tmp_path, **bare, files=table).load()[:] == {"text": ["One text."]}
    assert corpus(tmp_path, files=table).load()[:] == {"text": ["One text."], "label": ["positive"]}
    (tmp_path / "b.txt").write_text("\n \n")
    with pytest.raises(CorpusError, match="the file holds no row"):
        corpus(tmp_path, **bare, files=Files(str(tmp_path / "b.txt"), Columns("text"))).load()


@pytest.mark.parametrize("changes", [
    {"files": Written({"text": ["good", "worse"], "label": ["positive", "negative"]})},
    {"labels": ["negative", "neutral", "positive"]},
])  # fmt: skip
def test_what_decides_the_content_decides_the_cache(tmp_path, changes):
    corpus(tmp_path).load()
    other = corpus(tmp_path, **changes)
    other.load()
    assert other.files.reads == 1
    assert len(list((tmp_path / "arrow").glob("*.arrow"))) == 2


def test_checksum_is_of_the_rows_and_their_order(tmp_path):
    def of(texts, labels):
        return corpus(tmp_path, files=Written({"text": texts, "label": labels})).checksum()

    here = of(["a", "b"], ["positive", "negative"])
    assert here == corpus(tmp_path / "elsewhere", name="another", files=Written(
        {"text": ["a", "b"], "label": ["positive", "negative"]})).checksum()  # fmt: skip
    assert len({here, of(["b", "a"], ["negative", "positive"]), of(["a", "b"], ["negative", "positive"])}) == 3


@pytest.mark.parametrize("changes, says", [
    ({"source": "hub"}, ["'hub'", "has files", "corpus.source"]),
    ({"source": "web"}, ["'web'", "has files"]),
    ({"rating_range": [0, 1]}, ["at most one"]),
    ({"labels": ["positive"]}, ["two or more"]),
    ({"label_words": {"good": "lovely"}}, ["label_words has 'good'", "['negative', 'positive']"]),
    ({"labels": ["positive", "positive"]}, ["each once"]),
    ({"labels": None, "rating_range": [4, -4]}, ["[lowest, highest]"]),
    ({"name": "../up"}, ["'../up'"]),
])  # fmt: skip
def test_settings_that_cannot_be_meant(tmp_path, changes, says):
    with pytest.raises(UserError) as refused:
        corpus(tmp_path, **changes)
    assert all(part in str(refused.value) for part in says)


def test_without_a_network_the_other_sources_are_named(tmp_path):
    lonely = corpus(tmp_path, source="pypi", pypi=Written({}, fails=Unreachable("index: no route")), hub=Written({}))
    with pytest.raises(Unreachable, match=r"(?s)corpus mine: index: no route.*corpus.source.*: hub, files"):
        lonely.load()
    assert not lonely.present()
    assert not list(tmp_path.rglob("*.arrow*[!k]"))  # nothing but the lock


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError, match="corpus.cache is .*another folder"):
        corpus(tmp_path / "file").load()


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    # a limit on the size of files, in a process of its own: a write that fails half-way, as on a full disk
    code = """
import resource, sys
from pathlib import Path
from metalingua.corpus.corpus import Corpus, CorpusError
from metalingua.corpus.files import Files
from metalingua.corpus.table import Columns
import datasets
one = Corpus("mine", "d", "en", "files", sys.argv[1], "", "", labels=["a", "b"],
             files=Files(sys.argv[2], Columns("text", "label")))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    one.load()
except CorpusError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert not [p for p in Path(sys.argv[1]).rglob("*") if p.is_file() and p.suffix != ".lock"]
print(len(one.load()))
"""
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "a long text indeed,a\n" * 2000)
    command = [sys.executable, "-c", code, tmp_path / "c", table]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "corpus.cache is" in ran.stdout and "free some space" in ran.stdout
    assert ran.stdout.endswith("2000\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory held is read from Linux's /proc")
def test_a_file_is_read_in_less_memory_than_it_has_bytes(tmp_path):
    code = """
import sys
from pathlib import Path
import datasets
import pyarrow.parquet
from metalingua.corpus.corpus import Corpus
from metalingua.corpus.files import Files
from metalingua.corpus.table import Columns
def most():
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
def rows(stem):
    found = []
    for path in sorted(Path(sys.argv[1]).glob(stem + ".*")):
        cache, files = Path(sys.argv[1]) / "c", Files(str(path), Columns("text"))
        found.append(len(Corpus(path.name, "d", "en", "files", str(cache), "", "", files=files).load()))
    return found
assert rows("few") == [2000] * 4  # what reading takes once, whatever the size
before = most()
assert rows("many") == [30000] * 4
print(most() - before)
"""
    line = "word " * 320
    for stem, count in (("few", 2000), ("many", 30000)):
        texts = [f"{i} {line}" for i in range(count)]
        (tmp_path / f"{stem}.txt").write_text("\n".join(texts))
        (tmp_path / f"{stem}.csv").write_text("text\n" + "\n".join(texts))
        (tmp_path / f"{stem}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{stem}.parquet", compression="none")
    bytes_of_one = min(path.stat().st_size for path in tmp_path.glob("many.*"))
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < bytes_of_one / 2


def test_a_damaged_arrow_file_is_named(tmp_path):
    whole = corpus(tmp_path)
    whole.load()
    (arrow,) = (tmp_path / "arrow").glob("*.arrow")
    content = arrow.read_bytes()
    for damaged in (b"not arrow at all, and long enough", content[: len(content) // 2], content[:100], b""):
        arrow.write_bytes(damaged)
        with pytest.raises(CorpusError, match=f"{arrow.name} is damaged .*delete it"):
            corpus(tmp_path).load()
    arrow.unlink()
    assert len(corpus(tmp_path).load())


def test_two_processes_at_once_read_the_source_once(tmp_path):
    code = """
import sys, time
from metalingua.corpus.corpus import Corpus
class Slow:
    def spec(self): return {}
    def present(self, cache): return True
    def rows(self, cache, labels, rating_range):
        print("read", flush=True)
        time.sleep(1)
        return [{"text": ["x", "y"], "label": ["a", "b"]}]
import datasets
print(len(Corpus("mine", "d", "en", "files", sys.argv[1], "", "", labels=["a", "b"], files=Slow()).load()))
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0] for process in both)
    assert said == ["2\n", "read\n2\n"]


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_builds(path, tmp_path):
    missing = ["one.files.paths=x.txt"] if "paths: ???" in path.read_text() else []
    made = built(path.stem, tmp_path, *missing)
    assert made.name == path.stem and made.citation and made.licence and not made.present()


def test_the_default_corpora_are_of_distinct_domains(tmp_path):
    names = ["imdb", "rotten_tomatoes", "movie_sentences", "amazon", "tweets", "newspaper"]
    assert len({built(name, tmp_path).domain for name in names}) == 6


def test_files_yaml_through_hydra(tmp_path):
    table = tmp_path / "rated.jsonl"
    table.write_text('{"body": "fine", "stars": 4}\n{"body": "poor", "stars": 1}\n')
    rated = built(
        "files", tmp_path, f"one.files.paths={table}", "one.labels=null", "one.rating_range=[1,5]",
        "one.files.columns.text=body", "one.files.columns.label=null", "one.files.columns.rating=stars",
    )  # fmt: skip
    assert rated.present()
    assert rated.load()[:] == {"text": ["fine", "poor"], "rating": [4.0, 1.0]}


def test_a_source_that_the_yaml_has_not(tmp_path):
    with pytest.raises(Exception, match="source is 'hub', but this corpus has pypi"):
        built("tweets", tmp_path, "one.source=hub")


def test_importing_and_building_load_no_torch_and_no_datasets():
    code = (
        "import sys; from metalingua.corpus import archive, article, corpus, files, hub, pypi, table; "
        "assert not {'torch', 'datasets', 'pyarrow', 'pip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_are_known_by_content_not_by_place(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text("text,label\nx,a\ny,b\n")
    specs = [Files(str(tmp_path / folder / "t.csv"), Columns("text", "label")).spec() for folder in ("a", "b")]
    assert specs[0] == specs[1]
    (tmp_path / "b" / "t.csv").write_text("text,label\nx,b\ny,a\n")  # same size
    assert Files(str(tmp_path / "b" / "t.csv"), Columns("text", "label")).spec() != specs[0]
