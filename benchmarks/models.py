"""Every encoder of conf/model on the texts of the main job, into models.json and docs/models.md: `make models`.

A row a yaml; one more with ready-made word vectors where it takes them, and one a way of tuning where it has those.
What has been measured with the same code on the same machine is not measured again. No features that a run kept are
used.
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmarks.models_page import MODELS, PAGE, write
from benchmarks.race import ROOT
from benchmarks.results import Results
from metalingua.error import UserError
from metalingua.model.frozen import batches
from metalingua.model.model import Encoder
from metalingua.model.multilingual import MODULE, MultilingualEncoder
from metalingua.result.identity import encoder_config, plain
from metalingua.task.episode import Episode
from metalingua.task.tasks import Tasks
from metalingua.text.batch import pad
from metalingua.text.tokenizer import Tokenizer
from metalingua.training.engine import localise
from metalingua.training.module import MetaLearnerModule
from metalingua.training.progress import quiet

CONF = ROOT / "conf"
TUNINGS = ("frozen", "last_layers", "lora", "full")
TEXTS = 192  # IMDb reviews that are read forward
TESTED = 5  # IMDb episodes
BATCH = 4  # tasks a meta-step, as in conf/train.yaml
STEPS, EPISODES = 24, 100  # at most: meta-steps, and episodes of the closed form
SECONDS = 3.0  # for each measurement of a row, after its warm-up
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One way to choose an encoder: what follows `python train.py`."""

    name: str
    words: tuple[str, ...]
    absent: str | None = None  # why it cannot be measured


def rows() -> Iterator[Row]:
    """Of every yaml of conf/model, in order."""
    for path in sorted((CONF / "model").glob("*.yaml")):
        keys, name = yaml.safe_load(path.read_text()), path.stem
        words = (f"model={name}",)
        if missing := [key for key, value in (keys.get("source") or {}).items() if value == "???"]:
            yield Row(name, (*words, f"model.source.{missing[0]}=..."), f"model.source.{missing[0]} is yours to give")
        elif "tuning" in keys:
            yield from (Row(f"{name}, {each}", (*words, f"model.tuning={each}")) for each in TUNINGS)
        else:
            yield Row(name, words)
            if "vectors" in keys:
                yield Row(f"{name}, WordLlama vectors", (*words, "vectors@model.vectors=wordllama"))


def composed(words: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", ["learner=fomaml", *words])


@cache
def main_job() -> Tasks:
    """Read once."""
    return instantiate(composed([]).task, _convert_="all").read()


@lru_cache(maxsize=1)
def read_by(text: str) -> Tokenizer:
    """The tokenizer of this config, JSON, and the main job's texts in its tokens."""
    tokenizer = instantiate(json.loads(text))
    main_job().encode(tokenizer)
    return tokenizer


def measure(row: Row) -> dict[str, Any]:
    """What a row of the table says. Raises UserError where the encoder cannot be had."""
    cfg = composed(row.words)
    with tempfile.TemporaryDirectory() as folder:
        given = encoder_config(plain(cfg))
        config = plain(cfg)
        if "cache" in given:
            given["cache"] = folder  # features that other runs have kept would hide what they cost
        tasks, tokenizer = main_job(), read_by(json.dumps(config["text"]))
        module = MetaLearnerModule(
            given, tasks.heads(), config["learner"], config["optimizer"], seed=0, **config["engine"]
        )
        train, test = (tasks.episodes(split, seed=0) for split in ("meta_train", "meta_test"))
        trained = [train[i] for i in range(BATCH * 6)]
        tested = [episode for i in range(2 * TESTED) if (episode := test[i]).task == "imdb"]
        module.prepare(tokenizer, _texts([*trained, *tested]))
        encoder = module.model.encoder
        imdb = next(task for task in tasks.splits["meta_test"] if task.name == "imdb")
        texts, ids = imdb.texts[:TEXTS], imdb.tokens[:TEXTS]
        learned, numbers, size = _numbers(encoder, module)
        return {
            "words": list(row.words),
            "model": {k: v for k, v in config["model"].items() if k not in ("cache", "init_from")},
            "text": config["text"],
            "features": encoder.size,
            "numbers": numbers,
            "learned": learned,
            "mib": size / 2**20,
            "tokens": None if isinstance(encoder, MultilingualEncoder) else float(np.mean([len(each) for each in ids])),
            "texts_per_second": len(texts) / _forward(encoder, module, tokenizer, texts, ids),
            "tasks_per_second": BATCH / _meta_step(module, trained),
            "episode_ms": 1000 * _episode(module, cfg, tested),
            "second": encoder.derivatives > 1 if encoder.learns else None,
            "vmaps": encoder.vmaps,
        }


def _texts(episodes: Sequence[Episode]) -> list[str]:
    halves = (half for episode in episodes for half in (episode.support, episode.query))
    return list(dict.fromkeys(text for half in halves for text in half.inputs.texts))


def _numbers(encoder: Encoder, module: MetaLearnerModule) -> tuple[int, int, int]:
    """Numbers of the encoder that are learned, all, and the bytes that all take."""
    mine = [value for name, value in module.params.items() if name.startswith("encoder.")]
    learned = sum(value.numel() for value in mine)
    if hasattr(encoder, "_base"):
        held: list[Any] = list(encoder._base.parameters())
    elif isinstance(encoder, MultilingualEncoder):
        import importlib.util

        spec = importlib.util.find_spec(MODULE)
        assert spec is not None and spec.origin is not None  # it has prepared texts
        held = [z for path in Path(spec.origin).parent.rglob("*.npz") for z in np.load(path).values()]
    else:
        held = mine
    sizes = [(z.size, z.nbytes) if isinstance(z, np.ndarray) else (z.numel(), z.nbytes) for z in held]
    return learned, *(sum(each) for each in zip(*sizes, strict=True))  # type: ignore[return-value]


def _forward(encoder: Encoder, module: MetaLearnerModule, tokenizer: Tokenizer, texts: list[str], ids: list) -> float:
    """Seconds for all `texts`, a batch a core, without derivatives. Frozen features are worked out and kept on disk."""
    if not encoder.learns:
        part = len(texts) // ROUNDS  # a text that was read is kept, so each round has its own
        parts = [texts[i * part : (i + 1) * part] for i in range(ROUNDS)]
        return median(_seconds(lambda each=each: encoder.prepare(tokenizer, each)) for each in parts) * ROUNDS
    places = [*batches([len(each) for each in ids])]
    inputs = [pad([ids[i] for i in batch], [""] * len(batch)) for batch in places]

    def read() -> None:
        with torch.no_grad():
            module.engine.map(lambda batch: module.model.features(module.params, batch), inputs)  # type: ignore[arg-type]

    return _repeated(read, EPISODES)


def _meta_step(module: MetaLearnerModule, episodes: Sequence[Episode]) -> float:
    """Median seconds of a first-order meta-step: BATCH tasks, backward, the outer optimizer."""
    optimizer = module.configure_optimizers()
    calls = iter(range(10**9))

    def step() -> None:
        first = next(calls) * BATCH % len(episodes)
        optimizer.zero_grad()
        batch = list(episodes[first : first + BATCH])
        module.engine.loss(module.model, module.params, batch, module.episode_loss, module.order).backward()
        optimizer.step()

    return _repeated(step, STEPS)


def _episode(module: MetaLearnerModule, cfg: DictConfig, episodes: Sequence[Episode]) -> float:
    """Median seconds for one episode of a closed-form learner, on one thread: the support set's features, ridge
    regression on them, the answers for the queries."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        learner = instantiate(compose("train", ["learner=ridge"]).learner)
    model = module.model
    params = {name: value.detach() for name, value in module.params.items()} | learner.init(model, 0)
    calls = iter(range(10**9))

    def adapt() -> None:
        episode = episodes[next(calls) % len(episodes)]
        with torch.no_grad():
            mine = localise(model, params, episode)
            learner.adapt(model, mine, episode.support).outputs(episode.query.inputs)

    return _repeated(adapt, EPISODES)


def _repeated(call: Callable[[], None], most: int) -> float:
    """Median seconds of `call`: ROUNDS times at least, `most` at most, else for SECONDS; after a warm-up."""
    call()
    seconds: list[float] = []
    while len(seconds) < most and (len(seconds) < ROUNDS or sum(seconds) < SECONDS):
        seconds.append(_seconds(call))
    return median(seconds)


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="models of conf/model")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    options = parser.parse_args(words)
    quiet()
    os.chdir(ROOT)  # where data/ lies
    results = Results(MODELS)
    every = list(rows())
    for row in every:
        model = row.words[0].removeprefix("model=")
        if (options.only and model not in options.only) or (results.fresh("models", row.name) and not options.again):
            continue
        try:
            if row.absent:
                raise UserError(row.absent)
            with redirect_stdout(io.StringIO()):  # what encoders say of features they keep
                found = measure(row)
            said = f"{found['texts_per_second']:.0f} texts/s, {found['tasks_per_second']:.1f} tasks/s"
        except UserError as error:
            if "absent" not in results.all.get("models", {}).get(row.name, {"absent": ""}):
                print(f"{row.name}: left as it was measured before, because {error}")
                continue
            found = {"words": list(row.words), "absent": str(error)}
            said = found["absent"]
        results.put("models", row.name, found)
        print(f"{row.name}: {said}", flush=True)
    results.order("models", [row.name for row in every])
    write(results.all, PAGE)


if __name__ == "__main__":
    main()
