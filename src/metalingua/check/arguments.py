"""What a config gives to the constructors that it names, against what these take: read from source, never imported."""

import difflib
import typing
from collections.abc import Iterable, Iterator

from metalingua import limit
from metalingua.check.config import BROKEN, Config, get, join, targets
from metalingua.limit import Above, AtLeast, AtMost, Below, OneOf, complaint, evaluated, shown
from metalingua.signature import NoTarget, Signature, read

HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}

# The names a limit is written with; an annotation that needs others is left to the constructor.
NAMES: dict[str, object] = {
    **{name: getattr(typing, name) for name in typing.__all__},
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict, tuple, set)},
    **{kind.__name__: kind for kind in (AtLeast, Above, AtMost, Below, OneOf)},
    "typing": typing,
    "limit": limit,
    "__builtins__": {},
}

_known: dict[str, list[str]] = {}


def known_problems(key: str, node: Config) -> list[str]:
    """As `argument_problems`, worked out once: runs of a study have most of their nodes in common."""
    shown_node = f"{key} {node!r}"
    if shown_node not in _known:
        _known[shown_node] = list(argument_problems(key, node))
    return _known[shown_node]


def argument_problems(key: str, node: Config) -> Iterator[str]:
    """What the target of `node`, which stands at `key`, does not take, needs besides, or refuses."""
    target = node["_target_"]
    if target is BROKEN:
        return
    if problem := complaint(join(key, "_target_"), target, str):
        yield f"{problem}: the dotted path of a class or function"
        return
    try:
        signature = read(target)
    except NoTarget as gap:
        way_out = meant(gap.name, gap.known) or "; correct the path, or install what it names"
        yield f"{join(key, '_target_')} is {target}: {gap}{way_out}"
        return
    yield from _value_problems(key, target, signature, node)
    if node.get("_partial_") is not True:
        args = get(node, "_args_")
        given = {*node, *list(signature.arguments)[: len(args) if isinstance(args, list) else 0]}
        for name, argument in signature.arguments.items():
            if argument.required and name not in given:
                yield f"{join(key, name)} is missing: {target} needs it; give {join(key, name)}=..."


def _value_problems(key: str, target: str, signature: Signature, values: Config) -> Iterator[str]:
    takes = signature.arguments
    for name, value in values.items():
        at = join(key, name)
        if name in HYDRA_KEYS or value is BROKEN or at == "model.init_from":  # the run's key, not the encoder's
            continue
        if name not in takes:
            if not signature.open:
                known = f"it takes {', '.join(takes)}" if takes else "it takes no arguments"
                yield f"{at} is {shown(value)}: {target} has no such argument{meant(name, takes)}; {known}"
        elif isinstance(value, dict) and "_target_" in value:
            continue  # what that builds is for the constructor to judge
        elif problem := complaint(at, value, evaluated(takes[name].annotation, NAMES)):
            yield problem


def tuned_values_fit(cfg: Config) -> Iterator[str]:
    for key, node in targets(cfg):
        tuned, target = node.get("tuned"), node["_target_"]
        if not isinstance(tuned, dict) or not isinstance(target, str):
            continue
        try:
            signature = read(target)
        except NoTarget:  # said of the node itself
            continue
        for name, values in tuned.items():
            if not isinstance(values, list) or not values:
                yield f"{key}.tuned.{name} is {shown(values)}: it must be a list of one value or more, [1, 5]"
            for value in values if isinstance(values, list) else ():
                yield from _value_problems(f"{key}.tuned", target, signature, {name: value})


def meant(word: object, known: Iterable[str]) -> str:
    """The nearest of `known`, as a person is asked for it; empty if none is near."""
    close = difflib.get_close_matches(str(word), list(map(str, known)), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
