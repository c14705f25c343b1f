"""A config as plain containers, and what stands where in it."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

Config = dict[str, Any]  # resolved: plain dicts, lists and scalars, and BROKEN


class _Broken:
    def __repr__(self) -> str:
        return "???"


BROKEN = _Broken()  # stands for a value that is reported already


def resolved(node: Any, key: str, problems: list[str]) -> Any:
    """`node` as plain containers, its interpolations resolved; what cannot be is a problem, and BROKEN in its place."""
    if not isinstance(node, DictConfig | ListConfig):
        return node
    plain = {}
    for name in list(node) if isinstance(node, DictConfig) else range(len(node)):
        at = join(key, name)
        plain[name] = BROKEN
        try:
            if OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name):
                problems.append(f"{at} is ???: it has no default; give {at}=...")
            else:
                linked = OmegaConf.is_interpolation(node, name)  # a linked block is reported where it stands
                plain[name] = resolved(node[name], at, [] if linked else problems)
        except InterpolationToMissingValueError:
            pass  # the ??? it leads to is reported where it stands
        except OmegaConfBaseException as error:
            written = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index]
            reason = str(error).partition("\n")[0]
            problems.append(f"{at} is {written}: {reason}; name a key that is there, or write the value")
    return plain if isinstance(node, DictConfig) else list(plain.values())


def join(key: str, name: object) -> str:
    """The key of what `name`, a word or a place in a list, leads to below `key`."""
    if isinstance(name, int) and key:
        return f"{key}[{name}]"
    return f"{key}.{name}" if key else str(name)


def targets(value: Any, key: str = "") -> Iterator[tuple[str, Config]]:
    """Every node that Hydra would build, with its key."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield key, value
        for name, inner in value.items():
            yield from targets(inner, join(key, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from targets(inner, f"{key}[{place}]")


def get(cfg: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none or it is reported already."""
    for name in key.split("."):
        cfg = cfg.get(name) if isinstance(cfg, dict) else None
    return None if cfg is BROKEN else cfg


def blocks(cfg: Config, key: str) -> dict[str, Config]:
    """The named blocks under a key."""
    found = get(cfg, key)
    items = found.items() if isinstance(found, dict) else ()
    return {str(name): node for name, node in items if isinstance(node, dict)}
