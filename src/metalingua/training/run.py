"""One run, from its config to its table: read, train, choose, judge, record."""

import contextlib
import functools
import hashlib
import importlib.metadata
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from metalingua.error import UserError
from metalingua.machine import cores
from metalingua.model import native
from metalingua.result import figure
from metalingua.result.identity import commit, directory, encoder_config, plain, reading_as_the_start, run_hash
from metalingua.result.printed import markdown
from metalingua.result.run import RunDirectory, read_run, without_secrets, write_atomically
from metalingua.result.table import tables
from metalingua.task.tasks import Tasks
from metalingua.text.tokenizer import Tokenizer
from metalingua.training.checkpoint import Checkpoint, WholeFile, read_weights
from metalingua.training.data import EpisodeData
from metalingua.training.device import name_of
from metalingua.training.engine import Engine
from metalingua.training.flops import flops
from metalingua.training.judging import Candidate, choose, curve, judge
from metalingua.training.learners import build, learner_name, learners, left_out, start_of
from metalingua.training.memory import peak_memory_mib
from metalingua.training.metrics import MetricsFile
from metalingua.training.module import MetaLearnerModule, SharedParameterModule
from metalingua.training.processes import Place, Shared, helped, processes
from metalingua.training.progress import GradientNorms, Progress, say
from metalingua.training.refusal import refuse_before_reading, refuse_or_go_on
from metalingua.training.start import Start

PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "omegaconf", "datasets", "tokenizers", "numpy", "scikit-learn",
            "transformers", "peft")  # fmt: skip


HELPER = {"callbacks": [], "logger": False, "enable_progress_bar": False, "profiler": None}  # it writes nothing
COUNTED = 4  # meta-training tasks whose operations are counted
GO_ON = "the same command goes on from the last checkpoint"


class Interrupted(UserError):
    """The run was told to stop. It is not done; the same command goes on with it."""

    def __init__(self, message: str, signal_number: int = signal.SIGTERM):
        super().__init__(message)
        self.exit_code = 128 + signal_number  # as a shell counts: not the 2 of a refusal


@dataclass
class Reading:
    """What runs of the same tasks share: tasks with their tokens, the tokenizer, and what they start from."""

    tasks: Tasks
    tokenizer: Tokenizer
    start: Start | None = None


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


class Training:
    """The module, its data and its trainer, built but not begun: nothing is written yet.

    place  of this process among those of trainer=ddp; None: it is the run's own
    """

    def __init__(
        self, cfg: DictConfig, config: dict[str, Any], run: RunDirectory, reading: Reading, place: Place | None = None
    ):
        self.cfg, self.run, tasks = cfg, run, reading.tasks
        self.place = place or Place(processes(cfg))
        if self.place.world_size() > 1:
            config = {**config, "engine": share(config)}
        accumulated = cfg.trainer.get("accumulate_grad_batches", 1)  # batches a step
        self.module = build_module(cfg, config, reading)
        self.data = EpisodeData(tasks, seed=cfg.seed, steps=cfg.steps * accumulated, meta_batch=cfg.meta_batch,
                                validation=cfg.episodes.validation, test=cfg.episodes.test,
                                names=self.module.learner.reads_names)  # fmt: skip
        if self.module.learner.training != "none":
            self.module.engine.stacks(self.module.params, self.module.vmaps)  # refuses what cannot be batched so
        try:
            self.module.configure_optimizers()
        except ValueError as error:
            raise UserError(f"optimizer: {error}") from error
        self.keeper = Checkpoint(run, cfg.checkpoint_every, {"commit": commit(), "data": tasks.checksums()})
        self.trainer = build_trainer(
            cfg,
            default_root_dir=str(run.path),
            val_check_interval=cfg.validate_every * accumulated,
            plugins=[WholeFile()],
            enable_checkpointing=False,
            inference_mode=False,  # adapting takes gradients in validation too
            num_sanity_val_steps=0,
            strategy=Shared(cluster_environment=self.place) if self.place.world_size() > 1 else "auto",
            **(HELPER if self.place.global_rank() else self._followers()),
        )

    @property
    def device(self) -> torch.device:
        """Where it trains, and what it trained is judged."""
        return self.trainer.strategy.root_device

    def _followers(self) -> dict[str, Any]:
        """What of a Trainer writes, validates and tells."""
        cfg, run, logger = self.cfg, self.run, instantiate(self.cfg.logger)
        callbacks = [
            MetricsFile(run.metrics, cfg.trainer.log_every_n_steps),
            self.keeper,
            *([Progress()] * cfg.trainer.get("enable_progress_bar", True)),
            *([GradientNorms()] * logger.gradient_norms),
        ]
        return {"callbacks": callbacks, "logger": logger.live(run)}

    def parameters(self) -> dict[str, torch.Tensor]:
        """Train, or what is left of it: the parameters that did best on meta-validation. Fresh ones for a learner that
        is not meta-trained."""
        cfg, keeper, trainer = self.cfg, self.keeper, self.trainer
        if self.module.learner.training == "none":
            keeper.keep_untrained(self.module)  # another run can start from it: fresh parameters, and this tokenizer
            return read_weights(self.run.best, self.device)
        if not self._learns():
            say(
                f"[yellow]Nothing to meta-train[/]: the model is frozen, and [bold]{self.module.learner.label}[/] has "
                "no parameters of its own; it is judged as it is"
            )
            keeper.keep_untrained(self.module)
            return read_weights(self.run.best, self.device)
        at, changed = keeper.resume()
        if changed:
            say("[yellow]Code or data changed[/] since this run was cut: it begins anew")
        if at < cfg.steps:
            say(f"Meta-training [bold]{self.module.learner.label}[/], seed {cfg.seed}" + f", from step {at}" * (at > 0))
            start = keeper.last_path if at else None
            with helped(cfg, self.place, start):
                trainer.fit(self.module, self.data, ckpt_path=start, weights_only=True)
            if trainer.global_step < cfg.steps:
                raise Interrupted(f"stopped at step {trainer.global_step} of {cfg.steps}; {GO_ON}")
        return read_weights(self.run.best, self.device)

    def _learns(self) -> bool:
        """Whether the loss of an episode depends on any parameter."""
        module = self.module
        if module.model.encoder.learns:
            return True
        episode = self.data.tasks.episodes("meta_train", self.cfg.seed, self.data.names)[0]
        return module.engine.depends(module.model, module.params, episode, module.episode_loss, module.order)

    def timed(self) -> dict[str, Any]:
        """By the learner's name: seconds of its meta-training, and [step, seconds, score] of each validation. Empty for
        one that is not meta-trained."""
        if self.module.learner.training == "none":
            return {}
        mine, module = learner_name(self.module.hparams["learner"]), self.module
        drawn, cfg = self.data.tasks.episodes("meta_train", self.cfg.seed, self.data.names), self.cfg
        tasks = cfg.meta_batch * cfg.trainer.get("accumulate_grad_batches", 1)  # a step
        some = [drawn[i] for i in range(COUNTED)]
        one = flops(module.model, module.params, some, module.episode_loss) if self._learns() else 0.0
        return {mine: {"seconds": self.keeper.seconds, "history": self.keeper.history, "flops_per_step": tasks * one}}


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


def build_trainer(cfg: DictConfig, **more: Any) -> pl.Trainer:
    try:
        return instantiate(cfg.trainer, **more)
    except InstantiationException as error:
        if isinstance(error.__cause__, MisconfigurationException):
            raise UserError(f"trainer: {error.__cause__}") from error
        raise


def share(config: Mapping[str, Any]) -> dict[str, Any]:
    """`engine` for one of several processes: where it leaves the threads open, they share the cores."""
    count = config["trainer"]["devices"]
    return {**config["engine"], "threads": config["engine"]["threads"] or max(1, cores() // count)}


def build_module(cfg: DictConfig, config: Mapping[str, Any], reading: Reading) -> SharedParameterModule:
    tasks = reading.tasks
    kind = MetaLearnerModule if build(config["learner"]).training == "meta" else SharedParameterModule
    encoder, heads = encoder_config(config), tasks.heads()
    module = kind(encoder, heads, config["learner"], config["optimizer"], cfg.seed, **config["engine"])
    if reading.start:
        reading.start.give(module.model)
    whole = [task for split in tasks.splits.values() for task in split if not task.problem.of_tokens]
    texts = dict.fromkeys(text for task in whole for text in task.texts)  # of others, features are of single tokens
    if any(build(each).reads_names for each in learners(config).values()):
        texts |= dict.fromkeys(name for split in tasks.splits.values() for task in split for name in task.names or ())
    if found := module.prepare(reading.tokenizer, list(texts)):
        say(f"  {found}")
    module.learner.fit(tasks.labelled("meta_train"))
    return module


def compared_run(cfg: DictConfig, name: str) -> DictConfig:
    """The ordinary run that trains the compare entry `name` on the same tasks and is judged on the same episodes."""
    sub = cfg.copy()
    sub.learner, sub.compare, sub.reference = cfg.compare[name], {}, []
    return sub


def read(cfg: DictConfig) -> Reading:
    """Corpora, gate, tasks, and the tokenizer: fitted on meta-training text, or that of the run to start from."""
    config, tasks = plain(cfg), instantiate(cfg.task, _convert_="all")
    start = Start.of(config)  # before minutes are spent on reading, as what follows
    refuse_before_reading(config, tasks)
    say("Reading corpora, looking for leaks between the splits")
    tasks.read()
    dropped, fate = sum(tasks.found["drop"].values()), "left out" if cfg.task.leakage == "drop" else "found twice"
    say(f"  {tasks.found['texts']:,} texts, {dropped:,} {fate}")
    for name, counted in tasks.found["mended"].items():
        say(f"  corpus {name}: " + ", ".join(f"{number:,} {what}" for what, number in counted.items()))
    if cut := tasks.found.get("sentences"):
        say(f"  {cut['read']:,} sentences of unlabelled text, {sum(cut['drop'].values()):,} {fate}")
    say("  Turning texts into tokens")
    tokenizer = instantiate(cfg.text)
    if start:
        tokenizer.from_json(start.tokenizer)
    tasks.encode(tokenizer, fit=start is None)
    if cut := tokenizer.cut + sum(getattr(t, "cut", 0) for each in tasks.splits.values() for t in each):
        say(f"  {cut:,} texts are longer than task.max_length={cfg.task.max_length} tokens: their ends are not read")
    return Reading(tasks, tokenizer, start)


def _about(cfg: DictConfig, tasks: Tasks, task: Any) -> dict[str, Any]:
    ways = task.ways if task.scale is None and not task.problem.of_tokens else None  # None: no class has its own shots
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


@contextlib.contextmanager
def stopped_by_signal() -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the run as an error, so that its status is written: neither is success."""

    def stop(number: int, frame: Any) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}; {GO_ON}", number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def quiet() -> None:
    """Lightning's and W&B's own chatter off: what a run has to say, it says itself."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    for theirs in ("RNN module weights are not part", r"torch\.searchsorted\(\): input value tensor is non-contiguous"):
        warnings.filterwarnings("ignore", message=theirs)  # of cuDNN, of torch.vmap: what they ask for cannot be had
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)  # its report is asked for: trainer.profiler
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
