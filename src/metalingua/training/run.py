"""One run, from its config to its table: read, train, choose, judge, record."""

import contextlib
import functools
import hashlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pandas
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from metalingua.error import UserError
from metalingua.model import native
from metalingua.result import figure
from metalingua.result.identity import commit, directory, plain, reading_as_the_start, run_hash
from metalingua.result.printed import markdown
from metalingua.result.run import RunDirectory, read_run, without_secrets, write_atomically
from metalingua.result.table import tables
from metalingua.task.tasks import Tasks
from metalingua.training.checkpoint import read_weights
from metalingua.training.device import name_of
from metalingua.training.engine import Engine
from metalingua.training.fit import Training
from metalingua.training.interrupt import Interrupted, stopped_by_signal
from metalingua.training.judging import Candidate, choose, curve, judge
from metalingua.training.learners import build, learner_name, learners, left_out, start_of
from metalingua.training.memory import peak_memory_mib
from metalingua.training.progress import say
from metalingua.training.reading import Reading, read
from metalingua.training.refusal import refuse_or_go_on

PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "omegaconf", "datasets", "tokenizers", "numpy", "scikit-learn",
            "transformers", "peft")  # fmt: skip


def execute(cfg: DictConfig, reading: Reading | None = None) -> RunDirectory:
    """Do the run that `cfg` describes, or what is left of it; nothing if it is done. Raises UserError.

    The learners of `cfg.compare` are judged on the same episodes: those that are meta-trained in runs of their own.
    reading   given by a run that needs this one: then a stale run is done again, where a person is only told
    """
    given, cfg = cfg.text, reading_as_the_start(cfg)
    if cfg.text != given:
        say(f"[bold]text[/] is that of {cfg.model.init_from}: {cfg.text._target_}")
    config = plain(cfg)
    run = directory(config)
    again = cfg.rerun
    if run.done and not again:
        reason = stale(run, cfg)
        if reason is None or reading is None:
            say(f"[green]Done already[/]: {run.path}")
            if reason:
                say(f"[yellow]It is stale[/]: {reason}; rerun=true does it again")
            return run
        say(f"[yellow]Stale[/], done again: {run.path}: {reason}")
        again = True
    # All that can be wrong with the config or the data shows here, before anything is written
    for name, reason in left_out(config).items():
        say(f"Left out: compare.{name}: {reason}")
    needed, reading = reading is not None, reading or read(cfg)
    refuse_or_go_on(config, reading.tasks)
    training = Training(cfg, config, run, reading)
    if waited := needed and run.busy:  # two runs of a sweep may need the same one
        say(f"Waiting for {run.path}, which another process has in hand")
    with run.lock(wait=needed):
        if run.done and (not again or (waited and stale(run, cfg) is None)):  # by another process, just now
            return run
        if run.done:
            run.forget()
            training.keeper.clear()
        run.set_status("running")
        try:
            with stopped_by_signal():
                write_atomically(run.config, OmegaConf.to_yaml(OmegaConf.create(without_secrets(config))).encode())
                _do(cfg, config, run, reading, training)
        except BaseException as error:
            with contextlib.suppress(UserError):  # the disk that stopped the run may not take this either
                state = "interrupted" if isinstance(error, Interrupted) else "failed"
                run.set_status(state, message=str(error).partition("\n")[0])
            instantiate(cfg.logger).failed(run, without_secrets(config))
            raise
        _mirror(cfg, config, run)
    return run


def _do(cfg: DictConfig, config: dict[str, Any], run: RunDirectory, reading: Reading, training: Training) -> None:
    tasks, module, data = reading.tasks, training.module, training.data
    write_atomically(run.tokenizer, reading.tokenizer.to_json().encode())
    trained = training.parameters()
    peaks = [peak_memory_mib()]  # of reading and training; each learner that is judged starts its own

    model, engine = module.model, Engine(**config["engine"])
    scratch = {name: value.to(training.device) for name, value in model.init(cfg.seed).items()}
    episodes = functools.cache(data.episodes)  # those with names only where a learner reads them
    mine, entries = learner_name(config["learner"]), learners(config)
    starts = {"trained": trained, "scratch": scratch, mine: trained}
    rows, settings, curves, timed = [], {}, {}, training.timed()
    for name, learner in entries.items():  # runs of their own first: others start from what they trained
        if name != mine and build(learner).training != "none":
            sub = execute(compared_run(cfg, name), reading)
            starts[name] = read_weights(sub.best, training.device)
            rows.append(_rows_of(sub, name))
            alone, _ = read_run(sub.path)
            peaks.append(alone["cost"]["peak_memory_mib"])
            (settings[name],), (timed[name],) = alone["settings"].values(), alone["training"].values()
    say(f"Judging on {len(tasks.splits['meta_test'])} targets, {cfg.episodes.test} episodes each")
    for name, learner in entries.items():
        if name in settings:
            continue
        candidate = Candidate(name, learner, starts[start_of(build(learner))], tasks.labelled("meta_train"))
        say(f"  {build(learner).label}", end="")
        names = build(learner).reads_names
        validation, test = (episodes(split, names) for split in ("meta_validation", "meta_test"))
        chosen, score = choose(candidate, engine, model, validation)
        found, about = judge(candidate, chosen, engine, model, test)
        say("".join(f" [dim]{key}={value}[/]" for key, value in chosen.items()))
        rows.append(found)
        settings[name] = {**about, "validation": score}
        peaks.append(about["peak_memory_mib"])
        if steps := curve(candidate, chosen, engine, model, test):
            curves[name] = steps
    run.set_status("running")  # counts the seconds up to here
    result = {
        "experiment": cfg.name,
        "hash": run.path.name,
        "family": run_hash({key: value for key, value in config.items() if key != "seed"}),
        "seed": cfg.seed,
        "learner": mine,
        "reference": [name for name in cfg.reference if name in entries],
        "settings": {name: settings[name] for name in entries},
        "targets": {task.name: _about(cfg, tasks, task) for task in tasks.splits["meta_test"]},
        "curves": curves,
        "training": {name: timed[name] for name in entries if name in timed},
        "cost": {
            "wall_seconds": run.status()["elapsed_seconds"],
            "peak_memory_mib": max((each for each in peaks if each is not None), default=None),
        },
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": sys.version.split()[0]},
        "commit": commit(),
        "data": tasks.checksums(),
        "files": {path: _checksum(path) for learner in entries.values() for path in build(learner).files},
        "leakage": tasks.found,
        "init_from": reading.start and reading.start.about(),
        "text": {"fitted_on": [] if reading.start else sorted(tasks.rules["meta_train"])},
        "threads": engine.threads,
        "processes": training.place.world_size(),
        "device": name_of(training.device),
        "native": native.library(torch.float32) is not None,  # whose LSTM loops: the same but for rounding
    }
    found = pandas.concat(rows, ignore_index=True)
    made = (result, found)
    figure.comparison([made], run.figures / "comparison.png")
    if curves:
        figure.adaptation(made, run.figures / "adaptation.png")
    write_atomically(run.table, markdown(tables([made])).encode())
    run.finish(result, found)


def compared_run(cfg: DictConfig, name: str) -> DictConfig:
    """The ordinary run that trains the compare entry `name` on the same tasks and is judged on the same episodes."""
    sub = cfg.copy()
    sub.learner, sub.compare, sub.reference = cfg.compare[name], {}, []
    return sub


def _about(cfg: DictConfig, tasks: Tasks, task: Any) -> dict[str, Any]:
    ways = task.ways if task.of_classes else None
    items = 1 if ways else task.ways
    shots, queries = tasks.size(task)
    return {"title": task.title, "note": task.note, "metric": task.problem.metric, "ways": ways, "shots": shots * items,
            "queries": queries * items, "episodes": cfg.episodes.test}  # fmt: skip


def _rows_of(run: RunDirectory, name: str) -> pandas.DataFrame:
    _, rows = read_run(run.path)
    return rows[rows["learner"] == rows["learner"].iloc[0]].assign(learner=name)


def _mirror(cfg: DictConfig, config: dict[str, Any], run: RunDirectory) -> None:
    instantiate(cfg.logger).finish(run, without_secrets(config))


def stale(run: RunDirectory, cfg: DictConfig) -> str | None:
    """Why a done run is not what this code and these data would give; None if it is."""
    result, _ = read_run(run.path)
    if result["commit"] != commit():
        return f"it is of commit {result['commit']}, this is {commit()}"
    corpora = instantiate(cfg.task.corpora, _convert_="all")
    for name, checksum in result["data"].items():
        if corpora[name].checksum() != checksum:
            return f"corpus {name} holds other texts now"
    for path, checksum in result.get("files", {}).items():  # what learners read
        if not Path(path).is_file() or _checksum(path) != checksum:
            return f"{path} is not there, or holds something else now"
    return None


def _checksum(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
