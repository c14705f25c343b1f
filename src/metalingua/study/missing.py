"""Texts that runs would look for in vain."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from metalingua.check.task import SPLITS


@dataclass
class Missing:
    """A file that is not here: `corpora`, keys of task.corpora, that name it, and which of the configs read those."""

    corpora: list[str] = field(default_factory=list)
    configs: set[int] = field(default_factory=set)


def missing(configs: Iterable[Mapping[str, Any]]) -> dict[str, Missing]:
    """By what a run would say of it, with the key that sets it. Each corpus is looked for once; none is read, and
    nothing fetched."""
    said: dict[str, str | None] = {}
    found: defaultdict[str, Missing] = defaultdict(Missing)
    for number, config in enumerate(configs):
        for name, corpus in _read(config["task"]):
            key = json.dumps(corpus)
            if key not in said:
                said[key] = _lacks(corpus)
            if why := said[key]:
                found[why].configs.add(number)
                if name not in found[why].corpora:
                    found[why].corpora.append(name)
    return dict(found)


def _read(task: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The corpora that the tasks of `task` name, each once; others in task.corpora are not read."""
    rules = [rule for split in SPLITS for rule in (task.get(split) or {}).values()]
    fixed = [rule["fixed_queries"] for rule in rules if rule.get("fixed_queries")]
    for name in dict.fromkeys(each.get("corpus") for each in (*rules, *fixed)):
        if name is not None:
            yield name, task["corpora"][name]


def _lacks(corpus: Mapping[str, Any]) -> str | None:
    try:
        return instantiate(corpus, _convert_="all").lacks()
    except InstantiationException as error:
        return str(error.__cause__ or error)
