"""The learners of a run: its own, and those it is compared with, by the names that tables call them."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from metalingua.learner.learner import Learner

Config = Mapping[str, Any]  # of a whole run, or of a learner; plain containers


def build(learner: Config) -> Learner:
    return instantiate(learner, _convert_="all")


def learner_name(learner: Config) -> str:
    """metalingua.learner.maml.Maml -> maml: what episodes.parquet calls it."""
    return learner["_target_"].split(".")[-2]


def learners(config: Config) -> dict[str, Config]:
    """Name to learner: the run's own first, then what it is compared with."""
    gone = left_out(config)
    kept = {name: each for name, each in config["compare"].items() if name not in gone}
    return {learner_name(config["learner"]): config["learner"], **kept}


def left_out(config: Config) -> dict[str, str]:
    """Entries of compare that would say nothing beside the run's own learner, and why."""
    mine, own, gone = learner_name(config["learner"]), build(config["learner"]), {}
    for name, entry in config["compare"].items():
        learner = build(entry)
        if name == mine and entry == config["learner"]:
            gone[name] = "it is the run's own learner"
        elif learner.training == "none" and learner.start == "trained":
            if own.training == "none":
                gone[name] = f"it starts from what the run's own learner trained, and {own.label} trains nothing"
            elif learner.needs_head and not (own.training == "meta" and own.needs_head):
                gone[name] = f"it judges a meta-learned head as it is, and {own.label} has none"
            elif learner.needs_head and own.own_layers:
                gone[name] = f"it judges the model without the layers that {own.label} adds to it"
    return gone


def start_of(learner: Learner) -> str:
    """Whose parameters it is judged with: its own, if it is trained."""
    return learner.start if learner.training == "none" else "trained"
