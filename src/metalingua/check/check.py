"""Refuses a config that cannot mean what it says: every problem in one message, before any data is read."""

from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metalingua.check import arguments, run, task
from metalingua.check.config import Config, resolved, targets
from metalingua.error import UserError

rules: list[Callable[[Config], Iterator[str]]] = [
    run.values_within_limits,
    run.processes_share_a_batch,
    run.something_is_validated,
    task.tasks_take_their_keys,
    task.a_label_is_there_to_learn,
    arguments.tuned_values_fit,
    task.two_ways_or_more,
    task.corpora_are_known,
    task.classes_are_labels,
    task.domains_are_said,
    task.a_task_is_in_one_split,
    task.cuts_fit_the_ratings,
    task.classes_are_enough,
    task.a_corpus_has_its_source,
    run.vocabularies_agree,
    run.vectors_fit,
    run.positions_are_enough,
    run.compared_learners_are_whole,
    run.compared_learners_are_known,
    run.references_are_compared,
    run.a_name_is_one_folder,
    run.online_has_a_key,
]


class ConfigError(UserError):
    """The configuration contradicts the code, or itself."""


def check(cfg: DictConfig) -> None:
    """Raise ConfigError, naming every problem, if `cfg` cannot mean what it says.

    Reads no data and imports no target: arguments and their limits come from the targets' source files.
    """
    problems: list[str] = []
    plain: Any
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException:  # slower, and says of every value what is wrong with it
        plain = resolved(cfg, "", problems)
    for key, node in targets(plain):
        problems += arguments.known_problems(key, node)
    for rule in rules:
        problems += rule(plain)
    problems = list(dict.fromkeys(problems))  # a constructor and a rule may say the same
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError("\n  - ".join([f"the config has {count}:", *problems]))
