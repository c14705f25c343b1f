"""What names a run: all of its config that can change its result, of what it starts from the parameters, and the commit
of the code."""

import functools
import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metalingua.error import UserError
from metalingua.result.run import RunDirectory, config_hash, without_secrets

Config = Mapping[str, Any]  # of a whole run; plain containers

# What cannot change a result, but for rounding, and so is no part of a run's name
IRRELEVANT = (
    "name", "logger", "paths", "rerun", "checkpoint_every", "engine", "corpus.cache", "corpus.own",
    "model.cache", "model.source.cache", "text.source.cache", "optimizer.fused", "optimizer.foreach",
    *(f"trainer.{key}" for key in ("accelerator", "devices", "strategy", "profiler", "log_every_n_steps",
                                   "enable_model_summary")),
)  # fmt: skip

SOURCES = (".py", ".c")  # of what is code
KEY = "model.init_from"
_RUN = "give the folder of a done run, outputs/NAME/HASH"
WAY_OUT = {KEY: f"{_RUN}, or set model.init_from=null", "RUN": _RUN}  # by what names the run


def directory(config: Config) -> RunDirectory:
    """Where the run of `config` lives, as `plain` gives it: paths.outputs/NAME/HASH. Nothing is made."""
    return RunDirectory(Path(config["paths"]["outputs"]) / config["name"] / run_hash(config))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """`cfg` as plain containers, interpolations resolved; compare=null is an empty one."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    return {**config, "compare": config["compare"] or {}}


def run_hash(config: Config, start: str | None = None) -> str:
    """Names a run by all that can change its result: of one that it starts from the parameters, wherever they lie.

    start  sha256 of these parameters, where it is known; else they are read
    """
    if path := config["model"].get("init_from"):
        config = {**config, "model": {**config["model"], "init_from": start or digest(path)}}
    return config_hash(without_secrets(config), irrelevant(config))  # as it is written down


def irrelevant(config: Config) -> tuple[str, ...]:
    """The keys of `config` that cannot change a result."""
    corpora = config["task"]["corpora"]
    caches = [f"task.corpora.{name}.cache" for name in corpora]
    # of a corpus that is read from one's own files, where else it could come from
    others = [f"task.corpora.{name}.{block}" for name, corpus in corpora.items()
              if (corpus or {}).get("source") == "files" for block in ("pypi", "hub")]  # fmt: skip
    return (*IRRELEVANT, *caches, *others, "model.vectors.cache", "text.vectors.cache")


def encoder_config(config: Config) -> dict[str, Any]:
    """`model` without the key that is the run's and not the encoder's."""
    return {key: value for key, value in config["model"].items() if key != "init_from"}


def digest(path: str) -> str:
    """sha256 of the parameters of the run at `path`: that, not the path, decides what starts from it."""
    return hashlib.sha256(best_checkpoint(path).read_bytes()).hexdigest()


def best_checkpoint(path: str, key: str = KEY) -> Path:
    """The checkpoint of the done run at `path`, which `key` names. Raises UserError if there is none."""
    run = RunDirectory(path)
    best = run.best
    state = run.status().get("state")
    if state is None:
        gap = "there is no run"
    elif state != "done":
        gap = f"it is {state}, not done: start its command again to finish it"
    elif not best.is_file():
        gap = f"it has no {best.relative_to(run.path)}"
    else:
        return best
    raise UserError(f"{key} is {path}: {gap}; {WAY_OUT[key]}")


def config_of(path: str, key: str = KEY) -> DictConfig:
    """The config of the done run at `path`, which `key` names. Raises UserError."""
    best_checkpoint(path, key)
    try:
        found = OmegaConf.load(RunDirectory(path).config)
        assert isinstance(found, DictConfig)
        return found
    except (OSError, OmegaConfBaseException) as error:
        raise UserError(f"{key} is {path}, whose config cannot be read: {error}; {WAY_OUT[key]}") from error


def reading_as_the_start(cfg: DictConfig) -> DictConfig:
    """`cfg`, with `text` as the run has it that it starts from, where both have the same kind of encoder: the rows of
    that run's table are the ids of its tokenizer, and no others. Raises UserError where it is no done run."""
    path = cfg.model.get("init_from")
    if path is None:
        return cfg
    theirs = config_of(path)
    if theirs.model._target_ != cfg.model._target_ or theirs.text == OmegaConf.to_container(cfg.text, resolve=True):
        return cfg
    cfg = cfg.copy()
    OmegaConf.update(cfg, "text", theirs.text, merge=False, force_add=True)
    return cfg


@functools.cache  # the code that runs is what was there when it started
def commit() -> str:
    """The last commit that changed the package: later ones on texts or configs do not move it. With "+" and a checksum
    of the sources where they differ from it; that checksum alone outside a git checkout."""
    package = Path(__file__).parents[1]
    sources = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in SOURCES):
        sources.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    summed = sources.hexdigest()[:12]
    try:
        git = ["git", "-C", str(package)]
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-list", "-1", "HEAD", "--", "."], ["status", "--porcelain", "--", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return summed
    if not head:  # a checkout that does not hold the package
        return summed
    return f"{head}+{summed}" if changed else head
