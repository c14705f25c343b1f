"""A whole run in a second: texts that the tests write themselves, a tiny model, a checkout of its own."""

import csv
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import runpy
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

import pandas

REPO = Path(__file__).parents[1]
GOOD, BAD = ["fine", "lovely", "warm", "bright", "kind"], ["poor", "awful", "cold", "dull", "mean"]
PLAIN = [f"{a}{b}" for a in "bcdfgklm" for b in ("ar", "el", "in", "os")]

CORPUS = """
    {name}:
      _target_: metalingua.corpus.corpus.Corpus
      name: {name}
      domain: {name}
      language: en
      source: files
      cache: ${{corpus.cache}}
      licence: own
      citation: own
      {kind}
      files:
        _target_: metalingua.corpus.files.Files
        paths: [{file}]
        columns: {{_target_: metalingua.corpus.table.Columns, text: text, {column}: {column}}}
"""
TASK = """
# @package _global_
defaults:
  - override /task: tiny
  - override /logger: none
name: tiny
steps: 12
meta_batch: 2
validate_every: 4
checkpoint_every: 2
episodes: {validation: 2, test: 3}
text: {size: 60}
model: {embedding: 4, hidden: 4}
trainer: {log_every_n_steps: 1}
optimizer: {lr: 0.05}
compare:
  single_task: {tuned: {steps: [1, 2], step_size: [0.1]}}
  multi_task_finetuned: {tuned: {steps: [1, 2], step_size: [0.1]}}
  tfidf: {tuned: {inverse_penalty: [1, 10]}}
learner: {tuned: {steps: [1, 2], step_size: [0.1]}}
"""
TASKS = """
_target_: metalingua.task.tasks.Tasks
ways: 2
shots: 2
queries: 3
max_length: 12
label_order: fixed
held_out: domain
leakage: drop
corpora:
{corpora}
meta_train:
  chat_polarity: {{corpus: chat, share: [0, 0.7]}}
  stars_polarity: {{corpus: stars, cuts: [3], share: [0, 0.7]}}
meta_validation:
  chat_held_out: {{corpus: chat, share: [0.7, 1]}}
meta_test:
  books: {{corpus: books, title: Books}}
  shops: {{corpus: shops, title: Shops, note: A note.}}
"""


def texts(seed, count=60):
    """[(text, label, rating)], half of them positive, no two alike."""
    dice = random.Random(seed)
    rows = []
    for i in range(count):
        words = dice.choices(GOOD if i % 2 else BAD, k=2) + dice.sample(PLAIN, 6)
        dice.shuffle(words)
        rows.append((" ".join(words), "positive" if i % 2 else "negative", 4 + i % 2 if i % 2 else 1 + i % 2))
    return rows


def write_corpus(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "rating"), *rows])


def checkout(folder):
    """A copy of what a run needs, with a task and an experiment called tiny: what others edit does not reach it."""
    for name in ("src", "conf"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(REPO / "train.py", folder)
    corpora = ""
    for seed, name in enumerate(("chat", "stars", "books", "shops")):
        write_corpus(folder / f"{name}.csv", texts(seed))
        rated = name == "stars"
        kind, column = ("rating_range: [1, 5]", "rating") if rated else ("labels: [negative, positive]", "label")
        corpora += CORPUS.format(name=name, file=folder / f"{name}.csv", kind=kind, column=column).replace(
            "\n    ", "\n  "
        )
    (folder / "conf/task/tiny.yaml").write_text(TASKS.format(corpora=corpora))
    (folder / "conf/experiment/tiny.yaml").write_text(TASK.strip())
    return folder


# the server that forks takes its path from here: these sources, not an installed copy
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPO / "src"), os.environ.get("PYTHONPATH")]))
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([
    "metalingua.training.run", "metalingua.training.report", "pyarrow.parquet", "sklearn.feature_extraction.text",
    "sklearn.linear_model", "matplotlib.backends.backend_agg", "matplotlib.figure", "scipy.stats",
    "datasets", "filelock", "rich.progress", "PIL.PngImagePlugin", "torch.utils._pytree", "hydra._internal.hydra",
    "hydra._internal.core_plugins.basic_launcher", "hydra._internal.core_plugins.basic_sweeper", "optuna",
])  # fmt: skip


def _begin(folder, log, env):
    """This process, forked from the server, writes to its logs and stands in `folder`. Given a PYTHONPATH, it has its
    sources from there, not those of the server."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{log}.{name}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
    os.environ.update(env)
    os.chdir(folder)
    if "PYTHONPATH" in env:
        sys.path.insert(0, env["PYTHONPATH"])
        for name in [name for name in sys.modules if name.partition(".")[0] in ("metalingua", "hydra_plugins")]:
            del sys.modules[name]


def _command(folder, words, log, env):
    _begin(folder, log, env)
    sys.argv = ["metalingua", *words]
    try:
        runpy.run_module("metalingua", run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _child(folder, words, log, env, trap):
    _begin(folder, log, env)
    sys.argv = ["train.py", *(word for word in words if word == "-m"), *(word for word in words if word != "-m")]
    if trap:
        trap()
    try:
        runpy.run_path(str(Path(folder) / "train.py"), run_name="__main__")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def at(target, call, what, after=False):
    """A trap: `what` happens before (after) that call, counted from 1, of module:Class.method or module:function."""
    return functools.partial(_set, target, call, what, after)


def _set(target, call, what, after):
    module, _, dotted = target.partition(":")
    *holder, name = dotted.split(".")
    owner = functools.reduce(getattr, holder, importlib.import_module(module))
    whole, calls = getattr(owner, name), itertools.count(1)

    def trapped(*args, **kwargs):
        now = next(calls) == call
        if now and not after:
            what(*args)
        result = whole(*args, **kwargs)
        if now and after:
            what(*args)
        return result

    setattr(owner, name, trapped)


def sent(*args, number):
    os.kill(os.getpid(), number)


KILL, TERM, INT, STOP = (
    functools.partial(sent, number=getattr(signal, f"SIG{n}")) for n in ("KILL", "TERM", "INT", "STOP")
)


def full_disk(*args):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))


def poison(module, *args):
    next(module.parameters()).data.fill_(float("nan"))


def bug(*args):
    raise ZeroDivisionError


def other_code():
    """A trap: the code is of another commit."""
    for module in ("run", "fit"):
        importlib.import_module(f"metalingua.training.{module}").commit = lambda: "another"


class Forked:
    """A process that has torch and all else imported already: `target` with a folder, words, its log and more."""

    count = 0

    def __init__(self, folder, target, words, *more):
        Forked.count += 1
        self.log = folder / f"log{Forked.count}"
        self.process = _server.Process(target=target, args=(str(folder), words, str(self.log), *more))
        self.process.start()

    def end(self, seconds=60):
        """(exit code, stdout, stderr); a negative code is the signal that ended it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise TimeoutError(self.out + self.err)
        return self.process.exitcode, self.out, self.err

    def send(self, number):
        os.kill(self.process.pid, number)

    @property
    def out(self):
        return Path(f"{self.log}.stdout").read_text()

    @property
    def err(self):
        return Path(f"{self.log}.stderr").read_text()


class Started(Forked):
    """`python train.py WORDS`."""

    def __init__(self, folder, *words, trap=None, **env):
        given = ["experiment=tiny", f"corpus.cache={folder}/cache", f"paths.outputs={folder}/outputs", *words]
        super().__init__(folder, _child, given, env, trap)


class Plain(Forked):
    """The same without the experiment that `checkout` writes."""

    def __init__(self, folder, *words, **env):
        given = [*words, f"corpus.cache={folder}/cache", f"paths.outputs={folder}/outputs"]
        super().__init__(folder, _child, given, env, None)


def metalingua(folder, *words, **env):
    """`python -m metalingua WORDS` in a checkout, of the checkout's own sources."""
    given = {"PYTHONPATH": str(folder / "src"), "WANDB_MODE": "offline", **env}
    return Forked(folder, _command, [str(word) for word in words], given).end(400)


def train(folder, *words, **env):
    return Started(folder, *words, **env).end()


def compose(folder, *words):
    """The config of `python train.py experiment=tiny WORDS`."""
    from hydra import compose, initialize_config_dir

    given = ["experiment=tiny", f"corpus.cache={folder}/cache", f"paths.outputs={folder}/outputs", *words]
    with initialize_config_dir(str(folder / "conf"), version_base="1.3"):
        return compose("train", given)


def training(folder, *words, reading=None):
    """A Training that is built but not begun."""
    from metalingua.result.identity import directory, plain
    from metalingua.training.fit import Training
    from metalingua.training.reading import read

    cfg = compose(folder, *words)
    return Training(cfg, plain(cfg), directory(plain(cfg)), reading or read(cfg))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.002)


def runs(outputs):
    """Learner's name -> run directory, of the runs below an outputs folder."""
    found = {}
    for result in Path(outputs).glob("*/*/result.json"):
        found[json.loads(result.read_text())["learner"]] = result.parent
    return found


def wandb_records(file):
    """What an offline run of W&B has in its file, in order: a log of blocks, as LevelDB's."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = Path(file).read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:  # no header fits the rest of a block
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def bits(run):
    """All of a run that may not differ between two of the same config: measured times and memory left out."""
    from metalingua.training.checkpoint import read_weights

    result = json.loads((run / "result.json").read_text())
    result.pop("cost")
    result.pop("threads")
    for timed in result["training"].values():
        timed.pop("seconds")
        timed["history"] = [[step, score] for step, _, score in timed["history"]]
    for about in result["settings"].values():
        about.pop("peak_memory_mib")
    rows = pandas.read_parquet(run / "episodes.parquet").drop(columns="adapt_seconds")
    weights = {name: value.numpy().tobytes() for name, value in read_weights(run / "checkpoints/best.ckpt").items()}
    return {"result": result, "rows": rows.to_csv(), "weights": weights, "metrics": (run / "metrics.jsonl").read_text()}
