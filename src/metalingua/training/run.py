"""One run, from its config to its table: read, train, choose, judge, record."""

import importlib.metadata
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from metalingua.error import UserError
from metalingua.learner.learner import Learner
from metalingua.result import figure
from metalingua.result.run import RunDirectory, config_hash, read_run, without_secrets, write_atomically
from metalingua.result.table import markdown, tables
from metalingua.task.tasks import Tasks
from metalingua.training.checkpoint import Checkpoint, read_weights
from metalingua.training.data import EpisodeData
from metalingua.training.judging import Candidate, choose, curve, judge, peak_memory_mib
from metalingua.training.metrics import MetricsFile
from metalingua.training.module import MetaLearnerModule, SharedParameterModule
from metalingua.training.progress import GradientNorms, Progress, say

# What cannot change a result, and so is no part of a run's name
IRRELEVANT = (
    "name", "logger", "paths", "rerun", "checkpoint_every", "engine", "corpus.cache", "trainer.accelerator", "trainer.devices",
    "trainer.profiler", "trainer.log_every_n_steps", "trainer.enable_model_summary",
)  # fmt: skip
PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "omegaconf", "datasets", "tokenizers", "numpy", "scikit-learn")


class Interrupted(UserError):
    """The run was told to stop. It is not done; the same command goes on with it."""


@dataclass
class Reading:
    """What runs of the same tasks share: tasks with their tokens, and the tokenizer."""

    tasks: Tasks
    tokenizer: str


def execute(cfg: DictConfig, reading: Reading | None = None) -> RunDirectory:
    """Do the run that `cfg` describes, or what is left of it; nothing if it is done. Raises UserError.

    The learners of `cfg.compare` are judged on the same episodes: those that are meta-trained in runs of their own.
    """
    config = plain(cfg)
    run = RunDirectory(Path(cfg.paths.outputs) / cfg.name / run_hash(config))
    with run.lock():
        if run.done and not cfg.rerun:
            reason = stale(run, cfg)
            if reason is None or reading is None:
                say(
                    f"[green]Done already[/]: {run.path}"
                    + (f"\n[yellow]It is stale[/]: {reason}; rerun=true does it again" if reason else "")
                )
                return run
            say(f"[yellow]Stale[/], done again: {run.path}: {reason}")
        begun = run.status()
        if begun and (begun.get("state") == "done" or begun.get("commit") != commit()):
            shutil.rmtree(run.checkpoints, ignore_errors=True)  # other code would not end with the same bits
            run.forget()
        run.set_status("running", commit=commit())
        write_atomically(run.config, OmegaConf.to_yaml(OmegaConf.create(without_secrets(config))).encode())
        try:
            with stopped_by_signal():
                _do(cfg, config, run, reading or read(cfg))
        except BaseException as error:
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            run.set_status(
                "interrupted" if stopped else "failed", message=str(error).partition("\n")[0], commit=commit()
            )
            raise
        _mirror(cfg, config, run)
    return run


def _do(cfg: DictConfig, config: dict[str, Any], run: RunDirectory, reading: Reading) -> None:
    tasks = reading.tasks
    refuse_or_go_on(cfg, tasks)
    write_atomically(run.path / "tokenizer.json", reading.tokenizer.encode())
    data = EpisodeData(tasks, seed=cfg.seed, steps=cfg.steps, meta_batch=cfg.meta_batch,
                       validation=cfg.episodes.validation, test=cfg.episodes.test)  # fmt: skip
    module = build_module(cfg, config, tasks)
    trained = train(cfg, run, module, data)

    say(f"Judging on {len(tasks.splits['meta_test'])} targets, {cfg.episodes.test} episodes each")
    model, engine, scratch = module.model, module.engine, module.model.init(cfg.seed)
    validation, test = data.episodes("meta_validation"), data.episodes("meta_test")
    starts = {"trained": trained, "scratch": scratch}
    rows, settings, curves = [], {}, {}
    entries = {learner_name(config["learner"]): config["learner"], **config["compare"]}
    for name, learner in entries.items():  # runs of their own first: others start from what they trained
        if name in config["compare"] and build(learner).training != "none":
            sub = execute(compared_run(cfg, name), reading)
            starts[name] = read_weights(sub.checkpoints / "best.ckpt")
            rows.append(_rows_of(sub, name))
            settings[name] = next(iter(read_run(sub.path)[0]["settings"].values()))
    for name, learner in entries.items():
        if name in settings:
            continue
        candidate = Candidate(name, learner, starts[build(learner).start])
        say(f"  {build(learner).label}", end="")
        chosen = choose(candidate, engine, model, validation)
        found, about = judge(candidate, chosen, engine, model, test)
        say(f" [dim]{', '.join(f'{k}={v}' for k, v in chosen.items())}[/]")
        rows.append(found)
        settings[name] = about
        if steps := curve(candidate, chosen, engine, model, test):
            curves[name] = steps
    run.set_status("running", commit=commit())  # counts the seconds up to here
    result = {
        "experiment": cfg.name,
        "hash": run.path.name,
        "family": run_hash({key: value for key, value in config.items() if key != "seed"}),
        "seed": cfg.seed,
        "learner": learner_name(config["learner"]),
        "reference": [name for name in cfg.reference if name in entries],
        "settings": {name: settings[name] for name in entries},
        "targets": {task.name: _about(cfg, task) for task in tasks.splits["meta_test"]},
        "curves": curves,
        "cost": {"wall_seconds": run.status()["elapsed_seconds"], "peak_memory_mib": peak_memory_mib()},
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": sys.version.split()[0]},
        "commit": commit(),
        "data": tasks.checksums(),
        "leakage": tasks.found,
        "text": {"fitted_on": sorted(tasks.rules["meta_train"])},
        "threads": engine.threads,
    }
    found = pandas.concat(rows, ignore_index=True)
    made = (result, found)
    figure.comparison([made], run.figures / "comparison.png")
    if curves:
        figure.adaptation(made, run.figures / "adaptation.png")
    write_atomically(run.table, markdown(tables([made])).encode())
    run.finish(result, found)


def train(
    cfg: DictConfig, run: RunDirectory, module: SharedParameterModule, data: EpisodeData
) -> dict[str, torch.Tensor]:
    """The parameters that did best on meta-validation; the fresh ones for a learner that is not meta-trained."""
    if module.learner.training == "none":
        return module.model.init(cfg.seed)
    keeper = Checkpoint(run, cfg.checkpoint_every)
    last = keeper.last_path if keeper.last_path.exists() else None
    at = torch.load(last, weights_only=True)["global_step"] if last else 0
    if at < cfg.steps:
        say(f"Meta-training [bold]{module.learner.label}[/], seed {cfg.seed}" + (f", from step {at}" if at else ""))
        logger = instantiate(cfg.logger)
        watch = [GradientNorms()] if logger.gradient_norms else []
        trainer = instantiate(
            cfg.trainer,
            default_root_dir=str(run.path),
            callbacks=[keeper, Progress(), *watch],
            logger=[MetricsFile(run.metrics, at), *logger.live(run)],
            enable_checkpointing=False,
            inference_mode=False,  # adapting takes gradients in validation too
            num_sanity_val_steps=0,
        )
        trainer.fit(module, data, ckpt_path=last, weights_only=True if last else None)
        if trainer.global_step < cfg.steps:
            raise Interrupted(
                f"stopped at step {trainer.global_step} of {cfg.steps}; the same command goes on from the last checkpoint"
            )
    if not keeper.best_path.exists():
        raise UserError(
            f"validate_every is {cfg.validate_every} and steps is {cfg.steps}: nothing was validated; make validate_every at most steps"
        )
    return read_weights(keeper.best_path)


def build_module(cfg: DictConfig, config: Mapping[str, Any], tasks: Tasks) -> SharedParameterModule:
    kind = MetaLearnerModule if build(config["learner"]).training == "meta" else SharedParameterModule
    return kind(config["model"], tasks.heads(), config["learner"], config["optimizer"], cfg.seed, cfg.engine.threads)


def build(learner: Mapping[str, Any]) -> Learner:
    return instantiate(learner, _convert_="all")


def learner_name(config: Mapping[str, Any]) -> str:
    """metalingua.learner.maml.Maml -> maml: what episodes.parquet calls it."""
    return config["_target_"].split(".")[-2]


def compared_run(cfg: DictConfig, name: str) -> DictConfig:
    """The ordinary run that trains the compare entry `name` on the same tasks and is judged on the same episodes."""
    sub = cfg.copy()
    sub.learner, sub.compare, sub.reference = cfg.compare[name], {}, []
    return sub


def read(cfg: DictConfig) -> Reading:
    """Corpora, gate, tasks, and the tokenizer fitted on meta-training text."""
    say("Reading corpora, looking for leaks between the splits")
    tasks = instantiate(cfg.task, _convert_="all").read()
    dropped = sum(tasks.found["drop"].values())
    say(
        f"  {tasks.found['texts']:,} texts, {dropped:,} "
        + ("left out" if cfg.task.leakage == "drop" else "found twice")
    )
    tokenizer = instantiate(cfg.text)
    tasks.encode(tokenizer)
    return Reading(tasks, tokenizer.to_json())


def refuse_or_go_on(cfg: DictConfig, tasks: Tasks) -> None:
    """Raise UserError, naming all, if a learner cannot learn a problem that it will be given."""
    refusals = []
    for key, config in {
        "learner": cfg.learner,
        **{f"compare.{name}": each for name, each in cfg.compare.items()},
    }.items():
        learner = build(OmegaConf.to_container(config, resolve=True))
        for split, given in tasks.splits.items():
            for task in given if split != "meta_train" or learner.training != "none" else ():
                if reason := learner.refuses(task.problem):
                    refusals.append(f"{key} refuses task.{split}.{task.name}: {reason}")
    if refusals:
        raise UserError(
            "\n  - ".join(
                [
                    "learners and tasks do not fit:",
                    *refusals,
                    "take the learner out (~learner@compare.NAME) or the task",
                ]
            )
        )


def _about(cfg: DictConfig, task: Any) -> dict[str, Any]:
    metric = "accuracy" if task.scale is None else "rmse"
    ways = task.ways if task.scale is None else None
    items = 1 if ways else task.ways
    return {"title": task.title, "note": task.note, "metric": metric, "ways": ways, "shots": cfg.task.shots * items,
            "queries": cfg.task.queries * items, "episodes": cfg.episodes.test}  # fmt: skip


def _rows_of(run: RunDirectory, name: str) -> pandas.DataFrame:
    _, rows = read_run(run.path)
    return rows[rows["learner"] == rows["learner"].iloc[0]].assign(learner=name)


def _mirror(cfg: DictConfig, config: dict[str, Any], run: RunDirectory) -> None:
    instantiate(cfg.logger).finish(run, without_secrets(config))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """`cfg` as plain containers, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def run_hash(config: Mapping[str, Any]) -> str:
    """Names a run by all that can change its result."""
    caches = [f"task.corpora.{name}.cache" for name in config["task"]["corpora"]]
    return config_hash(config, (*IRRELEVANT, *caches))


def commit() -> str | None:
    """The commit of the code that runs, "-dirty" behind it if tracked files differ; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        asked = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def stale(run: RunDirectory, cfg: DictConfig) -> str | None:
    """Why a done run is not what this code and these data would give; None if it is."""
    result, _ = read_run(run.path)
    if result["commit"] != commit():
        return f"it is of commit {result['commit']}, this is {commit()}"
    corpora = instantiate(cfg.task.corpora, _convert_="all")
    for name, checksum in result["data"].items():
        if corpora[name].checksum() != checksum:
            return f"corpus {name} holds other texts now"
    return None


@contextmanager
def stopped_by_signal() -> Iterator[None]:
    """SIGTERM stops the run as an error: it is no success."""

    def stop(number: int, frame: Any) -> None:
        raise Interrupted(
            f"stopped by signal {signal.Signals(number).name}; the same command goes on from the last checkpoint"
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def quiet() -> None:
    """Lightning's and W&B's own chatter off: what a run has to say, it says itself."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
