"""What a run learned, apart from the run: parameters, how texts are read, a learner; and how a file keeps that."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from metalingua.error import UserError
from metalingua.learner.learner import Learner
from metalingua.model.model import Encoder, Model, Params
from metalingua.result.run import RunDirectory, write_atomically
from metalingua.text.tokenizer import Tokenizer

FORMAT = 1  # of the files: raise it when they hold something else
ABOUT = "metalingua"  # the entry of a safetensors file's metadata that is ours, as JSON
THETA, ADAPTED = "theta.", "adapted."  # what tensors' names begin with in a file

# Parts of a config: plain containers
Config = dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Learned:
    """What adapting to a new task needs. Nothing of it changes, so all copies of an estimator share one.

    source      the run, or the file, that it was read from
    name        of the learner, as a run's tables have it in their files
    learner, model, text   their configs; the learner's with the settings that were chosen on meta-validation
    max_length  tokens of a text that are read
    seed        of the run
    label_order "fixed" if a class of meta-training had the same place in every episode; "shuffled"
    heads       the heads that meta-training trained, to what their classes were called, a list a task, in the order of
                their outputs; none for tasks whose classes have no place of their own
    scales      [lowest, highest] of the ratings that meta-training predicted
    others      names of further learners of the run, those that need no trained head
    tokenizer   as its tokenizer.json has it
    params      what was meta-learned
    """

    source: str
    name: str
    learner: Config
    model: Config
    text: Config
    max_length: int
    seed: int
    label_order: str
    heads: dict[str, list[list[str]]]
    scales: list[list[float]]
    others: list[str]
    tokenizer: str
    params: Params

    def __repr__(self) -> str:
        return f"Learned({self.source!r}, {self.name!r})"

    def __deepcopy__(self, memo: Any) -> "Learned":
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def build(self, **settings: Any) -> Learner:
        """The learner, with `settings` in place of its own. Raises ValueError for one that it cannot have."""
        if unknown := [key for key in settings if key not in self.learner or key.startswith("_")]:
            takes = ", ".join(key for key in self.learner if not key.startswith("_") and key not in ("label", "tuned"))
            raise ValueError(f"settings has {unknown[0]!r}, and {self.name} takes {takes}")
        return _built({**self.learner, **settings})

    @property
    def kind(self) -> str:
        """What meta-training was about: "tagging", "regression" alone, else "classification"."""
        if any(name.startswith("tagging") for name in self.heads):
            return "tagging"
        return "regression" if set(self.heads) == {"regression"} else "classification"

    @cached_property
    def encoder(self) -> Encoder:
        return _built(self.model)

    @cached_property
    def reader(self) -> Tokenizer:
        return _built(self.text).from_json(self.tokenizer)

    def write(self, path: Path, more: Mapping[str, Any], adapted: Mapping[str, Tensor]) -> None:
        """One safetensors file of this, with what an estimator has to add: facts as JSON has them, and tensors.

        Of `adapted`, what equals a parameter of the same name is not written twice.
        """
        mine = {name: value for name, value in self.__getstate__().items() if name not in ("params", "source")}
        about = {**mine, **more, "format": FORMAT, "adapted": list(adapted)}
        tensors = {f"{THETA}{name}": value for name, value in self.params.items()}
        tensors |= {
            f"{ADAPTED}{name}": value
            for name, value in adapted.items()
            if name not in self.params or not torch.equal(value, self.params[name])
        }
        # clone: the format has no views of one tensor
        whole = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        write_atomically(path, to_bytes(whole, {ABOUT: json.dumps(about)}))


def read_file(path: Path) -> tuple[Learned, dict[str, Any], Params]:
    """What `Learned.write` wrote: itself, what was added, and `adapted`. Raises UserError.

    Nothing in the file is executed: configs may name classes of this package alone.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
        if about.pop("format") != FORMAT:
            raise UserError(f"{path} is of another version of metalingua: load it there, or save it anew from its run")
        params = {name.removeprefix(THETA): value for name, value in tensors.items() if name.startswith(THETA)}
        of_file = params | {
            name.removeprefix(ADAPTED): value for name, value in tensors.items() if name.startswith(ADAPTED)
        }
        adapted = {name: of_file[name] for name in about.pop("adapted")}
        mine = {field.name: about.pop(field.name) for field in fields(Learned) if field.name in about}
        for part in (mine["learner"], mine["model"], mine["text"]):
            _require_own(part, path)
        return Learned(**mine, source=str(path), params=params), about, adapted
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is nothing that save(path) of an estimator wrote, or it is damaged ({error}); name the folder of "
            "a done run, outputs/NAME/HASH, or such a file"
        ) from error


def read_run(path: Path, name: str | None = None) -> Learned:
    """What the done run at `path` learned, for its own learner or one that it was compared with (`name`).

    Raises UserError where that is no done run, or where a run does not keep what that learner needs.
    """
    # Lightning comes with these, and takes seconds: a file is read without
    from omegaconf import OmegaConf

    from metalingua.result.identity import best_checkpoint, config_of
    from metalingua.training.checkpoint import read_weights
    from metalingua.training.learners import build, learner_name, learners, start_of
    from metalingua.training.start import Start

    best, run = best_checkpoint(str(path), "RUN"), RunDirectory(path)
    found = OmegaConf.to_container(config_of(str(path), "RUN"))
    config: Config = _from_there({**found, "compare": found["compare"] or {}}, _root(path, found))  # type: ignore
    try:
        settings = json.loads(run.result.read_text(encoding="utf-8"))["settings"]
        tokenizer = run.tokenizer.read_text(encoding="utf-8")
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; do the run again (rerun=true)") from error
    weights = read_weights(best)
    entries, own = learners(config), learner_name(config["learner"])

    def lacks(each: str) -> str | None:
        """Why a run does not hold what this learner needs."""
        learner = build(entries[each])
        if type(learner).fit is not Learner.fit:
            return "it is made of the texts of meta-training, and a run does not keep these"
        if learner.reads_frequency:
            return "it asks how frequent words are in the texts of meta-training, and a run does not keep that"
        if each != own and (learner.training != "none" or start_of(learner) not in ("trained", "scratch", own)):
            return "its parameters are those of a run of its own, under the same outputs: load that run"
        return None

    able = [each for each in entries if each in settings and not lacks(each)]
    name = name or own
    if name not in entries or name not in settings:
        raise UserError(f"learner is {name!r}, which {path} has not; it has {', '.join(able)}")
    if reason := lacks(name):
        raise UserError(
            f"{path}: {name} cannot be loaded: {reason}. Of this run, these can: {', '.join(able) or 'none'}"
        )
    learner = {**entries[name], **settings[name]["chosen"]}
    kept = ("model", "text")
    parts = {part: {k: v for k, v in config[part].items() if k != "init_from"} for part in kept}
    heads, scales = _trained(config, build(config["learner"]).training != "none")
    if "tagging" in heads:
        heads |= {name.split(".")[1]: [] for name in weights if name.startswith("head.tagging")}
    learned = Learned(
        source=str(path),
        name=name,
        learner=learner,
        **parts,
        max_length=config["task"]["max_length"],
        seed=config["seed"],
        label_order=config["task"]["label_order"],
        heads=heads,
        scales=scales,
        others=[each for each in able if each not in (name, "majority") and not build(entries[each]).needs_head],
        tokenizer=tokenizer,
        params=weights,
    )
    if name != own and start_of(build(learner)) == "scratch":
        model = Model(learned.encoder, {})
        if start := Start.of(config):
            start.give(model)
        model.encoder.prepare(learned.reader, [])
        return replace(learned, params=model.init(config["seed"]))
    return learned


def _trained(config: Config, any_at_all: bool) -> tuple[dict[str, list[list[str]]], list[list[float]]]:
    """`heads` and `scales` of a run, from its config: no corpus is read."""
    task = config["task"]
    heads: dict[str, list[list[str]]] = {}
    scales: list[list[float]] = []
    tagged = {name for name, corpus in task["corpora"].items() if _is_tagged(corpus)}
    if any(rule.get("corpus") in tagged for rule in task["meta_train"].values()):
        heads["tagging"] = []  # which of them there are, the parameters say
    for rule in task["meta_train"].values() if any_at_all else ():
        if "_target_" in rule:  # of unlabelled text: its classes have no names, and another order every time
            if not get_object(rule["_target_"]).of_tokens:
                heads.setdefault(f"classification_{rule.get('ways') or task['ways']}", [])
            continue
        corpus = task["corpora"][rule["corpus"]]
        if rule["corpus"] in tagged:
            continue
        if corpus.get("labels") is None and corpus.get("rating_range") is None:
            raise UserError(
                f"this run answers token by token ({rule['corpus']} has neither labels nor ratings), and an estimator "
                "tells classes, rates or tags: load a run of classifications, ratings or tagged words"
            )
        if rule.get("rating"):
            heads.setdefault("regression", [])
            if corpus["rating_range"] not in (None, *scales):
                scales.append(corpus["rating_range"])
            continue
        ways = rule.get("ways") or task["ways"]
        called = heads.setdefault(f"classification_{ways}", [])
        names = [str(each) for each in rule.get("classes") or corpus.get("labels") or ()]
        if cuts := rule.get("cuts"):
            ends = [corpus["rating_range"][0], *cuts, corpus["rating_range"][1]]
            names = [f"{low:g} to {high:g}" for low, high in zip(ends, ends[1:], strict=False)]
        if len(names) == ways and names not in called:
            called.insert(len(called) if cuts else 0, names)  # words first
    return heads, scales


def _is_tagged(corpus: Config) -> bool:
    columns = [part.get("columns") for part in corpus.values() if isinstance(part, dict)]
    return any(isinstance(each, dict) and each.get("_target_", "").endswith(".TaggedColumns") for each in columns)


def _root(path: Path, config: Any) -> Path:
    """The folder that the run was started in: paths of its config count from there."""
    below = Path(config["paths"]["outputs"], config["name"])
    here = path.resolve().parent  # RunDirectory lies in outputs/NAME
    return Path(*here.parts[: -len(below.parts)]) if here.parts[-len(below.parts) :] == below.parts else Path.cwd()


def _from_there(config: Any, root: Path) -> Any:
    """`config` with the relative folders that pretrained models lie in as `root` has them, where they are there."""
    if isinstance(config, list):
        return [_from_there(each, root) for each in config]
    if not isinstance(config, dict):
        return config
    return {
        key: str(root / value)
        if key in ("cache", "path") and isinstance(value, str) and (root / value).exists()
        else _from_there(value, root)
        for key, value in config.items()
    }


def _require_own(config: Any, path: Path) -> None:
    """Raise UserError if `config` names anything but classes that this package defines: a file from elsewhere must not
    be able to call what it likes."""
    if isinstance(config, list):
        for each in config:
            _require_own(each, path)
    elif isinstance(config, dict):
        target = config.get("_target_")
        if target is not None and not _is_own(target):
            raise UserError(f"{path} names {target!r}, which is no class of metalingua: do not use this file")
        for each in config.values():
            _require_own(each, path)


def _is_own(target: Any) -> bool:
    if not (isinstance(target, str) and target.startswith("metalingua.")):
        return False
    try:
        found = get_object(target)
    except (HydraException, ImportError, AttributeError, ValueError):
        return False
    return inspect.isclass(found) and f"{found.__module__}.{found.__name__}" == target


def _built(config: Config) -> Any:
    """The object of a config; what its constructor raises comes as it is."""
    try:
        return instantiate(config, _convert_="all")
    except HydraException as error:
        raise error.__cause__ if isinstance(error.__cause__, ValueError | UserError) else error from None
