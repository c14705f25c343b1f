"""Starting from another run: its parameters in place of fresh ones, and the tokenizer whose ids they belong to."""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metalingua.error import UserError
from metalingua.model.model import Model, Params
from metalingua.result.run import RunDirectory
from metalingua.training.checkpoint import read_weights
from metalingua.training.learners import Config

KEY = "model.init_from"
_RUN = "give the folder of a done run, outputs/NAME/HASH"
WAY_OUT = {KEY: f"{_RUN}, or set model.init_from=null", "RUN": _RUN}  # by what names the run


def encoder_config(config: Config) -> dict[str, Any]:
    """`model` without the key that is the run's and not the encoder's."""
    return {key: value for key, value in config["model"].items() if key != "init_from"}


def digest(path: str) -> str:
    """sha256 of the parameters of the run at `path`: that, not the path, decides what starts from it."""
    return hashlib.sha256(best_checkpoint(path).read_bytes()).hexdigest()


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


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    path: str  # of the run, as it was given
    checksum: str
    params: Params  # the encoder's and the heads'
    tokenizer: str  # as its tokenizer.json has it

    @classmethod
    def of(cls, config: Config) -> "Start | None":
        """What `model.init_from` names; None where it is null. Raises UserError where that is no done run, or one with
        another kind of tokenizer."""
        path = config["model"].get("init_from")
        if path is None:
            return None
        best, folder = best_checkpoint(path), Path(path)
        try:
            params = read_weights(best)
            tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise UserError(f"model.init_from is {path}, which cannot be read: {error}; {WAY_OUT[KEY]}") from error
        given = config_of(path)
        kind, theirs = given.text._target_, given.model._target_
        if theirs != config["model"]["_target_"]:
            raise UserError(
                f"model.init_from is {path}, whose model is {theirs}, and model is {config['model']['_target_']}: "
                "choose the same model=..."
            )
        if kind != config["text"]["_target_"]:
            raise UserError(
                f"model.init_from is {path}, whose texts were read by {kind}, and text is "
                f"{config['text']['_target_']}: ids of one mean nothing to the other; choose the same text=..."
            )
        return cls(path, digest(path), {n: v for n, v in params.items() if not n.startswith("learner.")}, tokenizer)

    def give(self, model: Model) -> None:
        """Make them what `model.init` returns: all of the encoder, and the heads of equal name and shape.

        Raises UserError, naming what differs, if the encoder is another one.
        """
        fresh = model.init(0)
        mine, theirs = _encoder(fresh), _encoder(self.params)
        differ = [
            f"{name} is {_shape(theirs, name)} there and {_shape(mine, name)} here"
            for name in [*mine, *(name for name in theirs if name not in mine)]
            if _shape(theirs, name) != _shape(mine, name)
        ]
        if differ:
            raise UserError(
                "\n  - ".join([f"model.init_from is {self.path}, which has another encoder:", *differ])
                + f"\nchoose model and text as that run's config.yaml has them; or {WAY_OUT[KEY]}"
            )
        model.start = {n: v for n, v in self.params.items() if n in fresh and v.shape == fresh[n].shape}

    def about(self) -> dict[str, Any]:
        """For result.json."""
        return {"run": self.path, "sha256": self.checksum}


def best_checkpoint(path: str, key: str = KEY) -> Path:
    """The checkpoint of the done run at `path`, which `key` names. Raises UserError if there is none."""
    run = RunDirectory(path)
    best = run.checkpoints / "best.ckpt"
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


def _encoder(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name.startswith("encoder.")}


def _shape(params: Params, name: str) -> str:
    return str(list(params[name].shape)) if name in params else "absent"
