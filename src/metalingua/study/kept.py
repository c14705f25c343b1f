"""What a study keeps of its runs, and how their configs differ from others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from metalingua.error import UserError
from metalingua.result.identity import irrelevant, run_hash
from metalingua.result.run import read_result, relevant, without_secrets
from metalingua.study.study import StudyError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where it is built so: ten times as fast


@dataclass(frozen=True)
class Kept:
    """A kept run as it lies in the study's folder: what it was made from, and the name that its config has now."""

    path: Path
    hash: str
    config: Mapping[str, Any]
    commit: str


def kept_in(folder: Path) -> list[Kept]:
    """The kept runs in `folder`, named by their configs: a key that is new since, and null, renames none of them."""
    found = []
    for file in sorted(folder.glob("*/result.json")):
        try:
            result = read_result(file.parent)
            config = config_at(file.parent)
            start = (result.get("init_from") or {}).get("sha256")
            found.append(Kept(file.parent, run_hash(config, start), config, str(result.get("commit", "unknown"))))
        except (KeyError, TypeError, AttributeError, UserError) as error:
            raise StudyError(f"{file.parent} cannot be read as a kept run: {error}") from error
    return found


def config_at(run: Path) -> dict[str, Any]:
    """config.yaml of a run, as plain containers. Raises StudyError."""
    try:
        return yaml.load((run / "config.yaml").read_bytes(), LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise StudyError(f"{run / 'config.yaml'} cannot be read: {error}") from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 6) -> list[str]:
    """`key: value there -> value here` of what differs between two configs and can change a result."""
    flat_old, flat_new = flat(old), flat(new)
    found = [
        f"{key}: {flat_old.get(key, 'absent')} -> {flat_new.get(key, 'absent')}"
        for key in dict.fromkeys([*flat_old, *flat_new])
        if flat_old.get(key, "absent") != flat_new.get(key, "absent")
    ]
    return found[:most] + ([f"and {len(found) - most} more"] if len(found) > most else [])


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key to value, of all that can change a result."""

    def leaves(node: Any, at: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, Mapping) and node:
            for name, inner in node.items():
                yield from leaves(inner, f"{at}.{name}" if at else str(name))
        else:
            yield at, node

    return dict(leaves(relevant(without_secrets(config), irrelevant(config)), ""))
