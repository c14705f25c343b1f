"""Starting from another run: its parameters in place of fresh ones, and the tokenizer whose ids they belong to."""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metalingua.error import UserError
from metalingua.model.model import Model, Params
from metalingua.result.run import RunDirectory
from metalingua.training.checkpoint import read_weights
from metalingua.training.learners import Config

WAY_OUT = "give the folder of a done run, outputs/NAME/HASH, or set model.init_from=null"


def encoder_config(config: Config) -> dict[str, Any]:
    """`model` without the key that is the run's and not the encoder's."""
    return {key: value for key, value in config["model"].items() if key != "init_from"}


def digest(path: str) -> str:
    """sha256 of the parameters of the run at `path`: that, not the path, decides what starts from it."""
    return hashlib.sha256(_best(path).read_bytes()).hexdigest()


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
        best, folder = _best(path), Path(path)
        try:
            params = read_weights(best)
            tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
            kind = OmegaConf.load(RunDirectory(folder).config).text._target_
        except (OSError, RuntimeError, EOFError, KeyError, OmegaConfBaseException, pickle.UnpicklingError) as error:
            raise UserError(f"model.init_from is {path}, which cannot be read: {error}; {WAY_OUT}") from error
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
                + f"\nchoose model and text as that run's config.yaml has them; or {WAY_OUT}"
            )
        model.start = {n: v for n, v in self.params.items() if n in fresh and v.shape == fresh[n].shape}

    def about(self) -> dict[str, Any]:
        """For result.json."""
        return {"run": self.path, "sha256": self.checksum}


def _best(path: str) -> Path:
    """The checkpoint of the done run at `path`. Raises UserError if there is none."""
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
    raise UserError(f"model.init_from is {path}: {gap}; {WAY_OUT}")


def _encoder(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name.startswith("encoder.")}


def _shape(params: Params, name: str) -> str:
    return str(list(params[name].shape)) if name in params else "not there"
