"""Starting from another run: its parameters in place of fresh ones, and the tokenizer whose ids they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metalingua.error import UserError
from metalingua.model.model import Model, Params
from metalingua.result.identity import KEY, WAY_OUT, Config, best_checkpoint, config_of, digest
from metalingua.result.run import RunDirectory
from metalingua.training.checkpoint import read_weights


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
        best = best_checkpoint(path)
        try:
            params = read_weights(best)
            tokenizer = RunDirectory(path).tokenizer.read_text(encoding="utf-8")
        except (OSError, UserError) as error:
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


def _encoder(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name.startswith("encoder.")}


def _shape(params: Params, name: str) -> str:
    return str(list(params[name].shape)) if name in params else "absent"
