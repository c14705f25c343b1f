"""Refuses a config that cannot mean what it says: every problem in one message, before any data is read."""

import difflib
import typing
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Annotated, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from metalingua import limit
from metalingua.error import UserError
from metalingua.limit import Above, AtLeast, AtMost, Below, OneOf, complaint, evaluated, shown
from metalingua.result.wandb import has_key
from metalingua.signature import NoTarget, Signature, read

Config = dict[str, Any]  # resolved: plain dicts, lists and scalars, and BROKEN

HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
SPLITS = ("meta_train", "meta_validation", "meta_test")
SOURCES = ("pypi", "hub", "files")

# The names a limit is written with; an annotation that needs others is left to the constructor.
NAMES: dict[str, object] = {
    **{name: getattr(typing, name) for name in typing.__all__},
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict, tuple, set)},
    **{kind.__name__: kind for kind in (AtLeast, Above, AtMost, Below, OneOf)},
    "typing": typing,
    "limit": limit,
    "__builtins__": {},
}


class _Broken:
    def __repr__(self) -> str:
        return "???"


BROKEN = _Broken()  # stands for a value that is reported already


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
        plain = _resolved(cfg, "", problems)
    for key, node in _targets(plain):
        problems += _known_problems(key, node)
    for rule in rules:
        problems += rule(plain)
    problems = list(dict.fromkeys(problems))  # a constructor and a rule may say the same
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError("\n  - ".join([f"the config has {count}:", *problems]))


# One value at a time


def _resolved(node: Any, key: str, problems: list[str]) -> Any:
    """`node` as plain containers, its interpolations resolved; what cannot be is a problem, and BROKEN in its place."""
    if not isinstance(node, DictConfig | ListConfig):
        return node
    plain = {}
    for name in list(node) if isinstance(node, DictConfig) else range(len(node)):
        at = _join(key, name)
        plain[name] = BROKEN
        try:
            if OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name):
                problems.append(f"{at} is ???: it has no default; give {at}=...")
            else:
                linked = OmegaConf.is_interpolation(node, name)  # a linked block is reported where it stands
                plain[name] = _resolved(node[name], at, [] if linked else problems)
        except InterpolationToMissingValueError:
            pass  # the ??? it leads to is reported where it stands
        except OmegaConfBaseException as error:
            written = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index]
            reason = str(error).partition("\n")[0]
            problems.append(f"{at} is {written}: {reason}; name a key that is there, or write the value")
    return plain if isinstance(node, DictConfig) else list(plain.values())


def _join(key: str, name: object) -> str:
    if isinstance(name, int) and key:
        return f"{key}[{name}]"
    return f"{key}.{name}" if key else str(name)


def _targets(value: Any, key: str = "") -> Iterator[tuple[str, Config]]:
    """Every node that Hydra would build, with its key."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield key, value
        for name, inner in value.items():
            yield from _targets(inner, _join(key, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _targets(inner, f"{key}[{place}]")


_known: dict[str, list[str]] = {}


def _known_problems(key: str, node: Config) -> list[str]:
    """As `_argument_problems`, worked out once: runs of a study have most of their nodes in common."""
    shown_node = f"{key} {node!r}"
    if shown_node not in _known:
        _known[shown_node] = list(_argument_problems(key, node))
    return _known[shown_node]


def _argument_problems(key: str, node: Config) -> Iterator[str]:
    target = node["_target_"]
    if target is BROKEN:
        return
    if problem := complaint(_join(key, "_target_"), target, str):
        yield f"{problem}: the dotted path of a class or function"
        return
    try:
        signature = read(target)
    except NoTarget as gap:
        way_out = _meant(gap.name, gap.known) or "; correct the path, or install what it names"
        yield f"{_join(key, '_target_')} is {target}: {gap}{way_out}"
        return
    yield from _value_problems(key, target, signature, node)
    if node.get("_partial_") is not True:
        args = _at(node, "_args_")
        given = {*node, *list(signature.arguments)[: len(args) if isinstance(args, list) else 0]}
        for name, argument in signature.arguments.items():
            if argument.required and name not in given:
                yield f"{_join(key, name)} is missing: {target} needs it; give {_join(key, name)}=..."


def _value_problems(key: str, target: str, signature: Signature, values: Config) -> Iterator[str]:
    takes = signature.arguments
    for name, value in values.items():
        at = _join(key, name)
        if name in HYDRA_KEYS or value is BROKEN or at == "model.init_from":  # the run's key, not the encoder's
            continue
        if name not in takes:
            if not signature.open:
                known = f"it takes {', '.join(takes)}" if takes else "it takes no arguments"
                yield f"{at} is {shown(value)}: {target} has no such argument{_meant(name, takes)}; {known}"
        elif isinstance(value, dict) and "_target_" in value:
            continue  # what that builds is for the constructor to judge
        elif problem := complaint(at, value, evaluated(takes[name].annotation, NAMES)):
            yield problem


def _meant(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(map(str, known)), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


# Agreement between groups: one small function each, over the resolved config. A key that is not there is no problem.


def _at(cfg: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none or it is reported already."""
    for name in key.split("."):
        cfg = cfg.get(name) if isinstance(cfg, dict) else None
    return None if cfg is BROKEN else cfg


def _nodes(cfg: Config, key: str) -> dict[str, Config]:
    """The named blocks under a key."""
    found = _at(cfg, key)
    items = found.items() if isinstance(found, dict) else ()
    return {str(name): node for name, node in items if isinstance(node, dict)}


def _tasks(cfg: Config) -> Iterator[tuple[str, Config, Config]]:
    """Every task: its key, itself, its corpus (empty if unknown)."""
    corpora = _nodes(cfg, "task.corpora")
    for split in SPLITS:
        for name, task in _nodes(cfg, f"task.{split}").items():
            yield f"task.{split}.{name}", task, corpora.get(str(task.get("corpus")), {})


def _numbers(value: Any) -> list[float]:
    return value if isinstance(value, list) and all(limit.allows(float, one) for one in value) else []


def _classes(task: Config, corpus: Config) -> int | None:
    """How many classes a task tells apart; None for regression, or where only the data knows."""
    if task.get("rating") is True or "_target_" in task:  # a kind of task with a class of its own makes its classes
        return None
    if corpus.get("rating_range") is not None and task.get("cuts") is None:
        return 1  # ratings that nothing cuts
    if corpus.get("labels") is None and task.get("cuts") is None:
        return None  # no classes of texts: tags, spans, translations
    for answers, more in ((task.get("cuts"), 1), (task.get("classes"), 0), (corpus.get("labels"), 0)):
        if isinstance(answers, list):
            return len(answers) + more
    return None


LIMITS: dict[str, object] = {
    "seed": Annotated[int, AtLeast(0)],
    "task.shots": Annotated[int, AtLeast(1)],
    "task.queries": Annotated[int, AtLeast(1)],
    "steps": Annotated[int, AtLeast(1)],
    "meta_batch": Annotated[int, AtLeast(1)],
    "checkpoint_every": Annotated[int, AtLeast(1)],
    "validate_every": Annotated[int, AtLeast(1)],
    "episodes.validation": Annotated[int, AtLeast(1)],
    "episodes.test": Annotated[int, AtLeast(2)],  # an interval needs two
    "optimizer.lr": Annotated[float, Above(0)],
    "model.init_from": str | None,
    "engine.threads": Annotated[int, AtLeast(1)] | None,
    "engine.batching": Annotated[str, OneOf("auto", "threads", "vmap")],
    "rerun": bool,
    "logger.mode": Annotated[str, OneOf("auto", "online", "offline", "disabled")],
}


def values_within_limits(cfg: Config) -> Iterator[str]:
    for key, annotation in LIMITS.items():
        *above, name = key.split(".")
        group = _at(cfg, ".".join(above)) if above else cfg
        if not isinstance(group, dict) or group.get(name, BROKEN) is BROKEN:
            continue
        if problem := complaint(key, group[name], annotation):
            yield problem


def processes_share_a_batch(cfg: Config) -> Iterator[str]:
    nodes, devices, strategy = (_at(cfg, f"trainer.{key}") for key in ("num_nodes", "devices", "strategy"))
    if nodes not in (None, 1):
        yield f"trainer.num_nodes is {shown(nodes)}: the processes of a run are of one machine; set trainer.num_nodes=1"
    if strategy not in (None, "auto", "ddp"):
        yield (
            f"trainer.strategy is {shown(strategy)}: every process holds all parameters, in one process or by ddp; "
            "take trainer=default or trainer=ddp"
        )
    if devices is None or devices is BROKEN:
        return
    if problem := complaint("trainer.devices", devices, Annotated[int, AtLeast(1)]):
        yield f"{problem}: the number of processes of a run"
    elif devices > 1 and strategy != "ddp":
        yield (
            f"trainer.devices is {devices}: a run is one process, unless trainer=ddp shares its batches; add "
            "trainer=ddp, or set trainer.devices=1, and engine.threads for more cores"
        )
    elif limit.allows(int, tasks := _at(cfg, "meta_batch")) and tasks % devices:
        yield (
            f"meta_batch is {tasks} and trainer.devices is {devices}: each process takes as many tasks of a batch, so "
            f"meta_batch must be a multiple of {devices}; set meta_batch={tasks + -tasks % devices}"
        )


def something_is_validated(cfg: Config) -> Iterator[str]:
    every, steps = _at(cfg, "validate_every"), _at(cfg, "steps")
    if limit.allows(int, every) and limit.allows(int, steps) and every > steps > 0:
        yield f"validate_every is {every} and steps is {steps}: nothing would be validated; set validate_every={steps}"


def tasks_take_their_keys(cfg: Config) -> Iterator[str]:
    for key, task, _ in _tasks(cfg):
        if "_target_" not in task:  # else they are its class's arguments
            yield from _argument_problems(key, {**task, "_target_": "metalingua.task.task.Rule"})
            if isinstance(fixed := task.get("fixed_queries"), dict):
                target = {"_target_": "metalingua.task.task.FixedQueries"}
                yield from _argument_problems(f"{key}.fixed_queries", {**fixed, **target})


def a_label_is_there_to_learn(cfg: Config) -> Iterator[str]:
    for key, task, corpus in _tasks(cfg):
        answers = [corpus.get("labels"), corpus.get("rating_range")]
        own = "metalingua.corpus.table.Columns"  # others find answers of their own: tags, translations
        plain = _at(corpus, "files.columns._target_") in (None, own) and not _at(corpus, "files.target_language")
        if corpus and plain and "_target_" not in task and answers == [None, None]:
            yield (
                f"{key}.corpus is {shown(task.get('corpus'))}, which has neither labels nor rating_range: its "
                "text makes tasks as those of conf/task/smlmt.yaml; take another corpus, or give it labels"
            )


def tuned_values_fit(cfg: Config) -> Iterator[str]:
    for key, node in _targets(cfg):
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


def two_ways_or_more(cfg: Config) -> Iterator[str]:
    tasks = list(_tasks(cfg))
    if tasks and all(task.get("rating") is True for _, task, _ in tasks):
        return  # regression tells no classes apart
    for key, group in [("task", _at(cfg, "task")), *((key, task) for key, task, _ in tasks)]:
        ways = _at(group, "ways")
        if ways is not None and (problem := complaint(f"{key}.ways", ways, Annotated[int, AtLeast(2)])):
            yield problem


def corpora_are_known(cfg: Config) -> Iterator[str]:
    corpora = _nodes(cfg, "task.corpora")
    for key, task, _ in _tasks(cfg):
        for at in ("corpus", "fixed_queries.corpus"):
            name = _at(task, at)
            if name is not None and str(name) not in corpora:
                has = f"it has {', '.join(corpora)}" if corpora else "it is empty"
                yield f"{key}.{at} is {shown(name)}: task.corpora has no such corpus{_meant(name, corpora)}; {has}"


def a_task_is_in_one_split(cfg: Config) -> Iterator[str]:
    first: dict[str, str] = {}
    for split in SPLITS:
        for name in _nodes(cfg, f"task.{split}"):
            if first.setdefault(name, split) != split:
                yield f"task.{split}.{name} is in {first[name]} too: a task belongs to one split; take it out of one"


def cuts_fit_the_ratings(cfg: Config) -> Iterator[str]:
    for key, task, corpus in _tasks(cfg):
        cuts, name, ends = task.get("cuts"), task.get("corpus"), _numbers(corpus.get("rating_range"))
        for asked in ("cuts", "rating"):
            if corpus and task.get(asked) not in (None, False, BROKEN) and corpus.get("rating_range") is None:
                yield (
                    f"{key}.{asked} is {shown(task[asked])}: task.corpora.{name} has no rating_range, so no ratings; "
                    f"take out {asked}, or choose a corpus of ratings"
                )
        if cuts is None or cuts is BROKEN:
            continue
        if task.get("rating") is True:
            yield (
                f"{key}.cuts is {shown(cuts)} and {key}.rating is true: a task predicts a class or the rating; "
                "set cuts=null or rating=false"
            )
        if not isinstance(cuts, list) or len(_numbers(cuts)) < len(cuts):
            yield f"{key}.cuts is {shown(cuts)}: it must be a list of numbers"
        elif any(low >= high for low, high in pairwise(cuts)):
            yield f"{key}.cuts is {shown(cuts)}: cuts must increase; write {sorted(set(cuts))}"
        elif len(ends) == 2 and not all(ends[0] < cut < ends[1] for cut in cuts):
            within = f"between {ends[0]} and {ends[1]}, the rating_range of {name}"
            yield f"{key}.cuts is {shown(cuts)}: each must lie {within}"


def classes_are_labels(cfg: Config) -> Iterator[str]:
    for key, task, corpus in _tasks(cfg):
        classes, labels, name = task.get("classes"), corpus.get("labels"), task.get("corpus")
        if classes is None or classes is BROKEN:
            continue
        if not isinstance(classes, list):
            yield f"{key}.classes is {shown(classes)}: it must be a list of labels of {name}"
        elif corpus and corpus.get("rating_range") is not None:
            yield f"{key}.classes is {shown(classes)}: task.corpora.{name} has ratings, no labels; take out classes"
        elif isinstance(labels, list):
            known = [str(label) for label in labels]
            for label in dict.fromkeys(str(each) for each in classes):
                if label not in known:
                    yield f"{key}.classes has {label!r}, no label of task.corpora.{name}{_meant(label, known)}"
            if len(set(map(str, classes))) < len(classes):
                yield f"{key}.classes is {shown(classes)}: name each class once"


def domains_are_said(cfg: Config) -> Iterator[str]:
    corpora = _nodes(cfg, "task.corpora")
    for key, task, _ in _tasks(cfg):
        names = [task.get("corpus"), _at(task, "fixed_queries.corpus")]
        if "_target_" in task or not (
            known := [(str(name), corpora[str(name)]) for name in names if str(name) in corpora]
        ):
            continue
        columns = {name: f"{corpus.get('source')}.columns" for name, corpus in known}
        says = {name: _at(corpus, f"{columns[name]}.domain") is not None for name, corpus in known}
        for name in columns if task.get("domains") or any(says.values()) else ():
            if not says[name]:
                yield (
                    f"{key} is of the domains of its texts, and those of {name} say none: name the column that does, "
                    f"task.corpora.{name}.{columns[name]}.domain, or take out {key}.domains"
                )


def classes_are_enough(cfg: Config) -> Iterator[str]:
    for key, task, corpus in _tasks(cfg):
        classes, ways = _classes(task, corpus), _at(task, "ways") or _at(cfg, "task.ways")
        if classes is None:
            continue
        if corpus.get("labels") is None:
            found = f"{key}.cuts is {shown(task.get('cuts'))}"
        elif task.get("classes") is not None:
            found = f"{key}.classes is {shown(task['classes'])}"
        else:
            found = f"task.corpora.{task['corpus']}.labels is {shown(corpus['labels'])}"
        if classes < 2:
            yield f"{found}: that makes {key} a task with {classes} class, and telling apart takes 2 or more; add one"
        elif limit.allows(int, ways) and ways > classes:
            yield f"{found}: that is {classes} classes, fewer than the {ways} ways of {key}; set {key}.ways={classes}"


def a_corpus_has_its_source(cfg: Config) -> Iterator[str]:
    for name, corpus in _nodes(cfg, "task.corpora").items():
        source, has = corpus.get("source"), [one for one in SOURCES if corpus.get(one) is not None]
        if source is not None and source is not BROKEN and source not in has:
            way_out = f"choose {' or '.join(has)}, which it has, or write the block" if has else "write the block"
            yield f"task.corpora.{name}.source is {shown(source)}: {name} has no block of that name; {way_out}"


def vocabularies_agree(cfg: Config) -> Iterator[str]:
    size, vocabulary = _at(cfg, "text.size"), _at(cfg, "model.vocabulary")
    if size is not None and vocabulary is not None and size != vocabulary:
        yield (
            f"model.vocabulary is {vocabulary} and text.size is {size}: they must be equal; "
            "set model.vocabulary=${text.size}"
        )


def vectors_fit(cfg: Config) -> Iterator[str]:
    size = _at(cfg, "model.vectors.size")
    for key in ("model.embedding", "model.dim"):  # of a Transformer the second
        if limit.allows(int, size) and (given := _at(cfg, key)) not in (None, size):
            yield (
                f"{key} is {shown(given)} and model.vectors.size is {size}: they must be equal; "
                f"set {key}={size}, or choose other vectors"
            )


def positions_are_enough(cfg: Config) -> Iterator[str]:
    longest, positions = _at(cfg, "task.max_length"), _at(cfg, "model.max_length")
    if limit.allows(int, longest) and limit.allows(int, positions) and positions < longest:
        yield (
            f"model.max_length is {positions} and task.max_length is {longest}: a text may be longer than the "
            "model has positions for; set model.max_length=${task.max_length}"
        )


def compared_learners_are_whole(cfg: Config) -> Iterator[str]:
    compare = _at(cfg, "compare")
    for name, node in compare.items() if isinstance(compare, dict) else ():
        if not isinstance(node, dict) or "_target_" not in node:
            yield (
                f"compare.{name} is {shown(node)}, which builds nothing: choose a learner for it, "
                f"learner@compare.{name}=..., with + in front where no learner is chosen yet, or take it out, "
                f"~compare.{name}"
            )


def compared_learners_are_known(cfg: Config) -> Iterator[str]:
    compare = _nodes(cfg, "compare")
    for name, node in compare.items():
        others = [one for one in compare if one != name]
        given, known = node.get("start"), ["scratch", "trained", *others]
        if given is not None and given is not BROKEN and given not in known:
            has = f"{_meant(given, known)}; there is {', '.join(others) or 'none'}"
            rule = "scratch or trained or another entry of compare"
            yield f"compare.{name}.start is {shown(given)}: it must name {rule}{has}"


def references_are_compared(cfg: Config) -> Iterator[str]:
    target = _at(cfg, "learner._target_")  # the run's own learner is called as its module
    own = target.split(".")[-2:-1] if isinstance(target, str) else []
    known = [*_nodes(cfg, "compare"), *own]
    for name in _at(cfg, "reference") or []:
        if name not in known:
            yield (
                f"reference is {shown(_at(cfg, 'reference'))}: {name} is no entry of compare{_meant(name, known)}; "
                f"there is {', '.join(known) or 'none'}; set reference=[...] to some of them, or to []"
            )


def a_name_is_one_folder(cfg: Config) -> Iterator[str]:
    name = _at(cfg, "name")
    if "name" in cfg and (not isinstance(name, str) or not name.strip() or name in (".", "..") or "/" in name):
        yield f"name is {shown(name)}: it must name one folder under paths.outputs; give a word without '/'"


def online_has_a_key(cfg: Config) -> Iterator[str]:
    if _at(cfg, "logger.mode") == "online" and not has_key():
        yield (
            "logger.mode is online: W&B needs a key, and neither WANDB_API_KEY nor the netrc file has one; "
            "run `wandb login`, or set logger.mode to auto, offline or disabled"
        )


rules: list[Callable[[Config], Iterator[str]]] = [
    values_within_limits,
    processes_share_a_batch,
    something_is_validated,
    tasks_take_their_keys,
    a_label_is_there_to_learn,
    tuned_values_fit,
    two_ways_or_more,
    corpora_are_known,
    classes_are_labels,
    domains_are_said,
    a_task_is_in_one_split,
    cuts_fit_the_ratings,
    classes_are_enough,
    a_corpus_has_its_source,
    vocabularies_agree,
    vectors_fit,
    positions_are_enough,
    compared_learners_are_whole,
    compared_learners_are_known,
    references_are_compared,
    a_name_is_one_folder,
    online_has_a_key,
]
