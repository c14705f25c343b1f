"""What a config may not say of the run as a whole: a rule each. A key that is not there is no problem."""

from collections.abc import Iterator
from typing import Annotated

from metalingua import limit
from metalingua.check.arguments import meant
from metalingua.check.config import BROKEN, Config, blocks, get
from metalingua.limit import Above, AtLeast, OneOf, complaint, shown
from metalingua.result.wandb import has_key

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
        group = get(cfg, ".".join(above)) if above else cfg
        if not isinstance(group, dict) or group.get(name, BROKEN) is BROKEN:
            continue
        if problem := complaint(key, group[name], annotation):
            yield problem


def processes_share_a_batch(cfg: Config) -> Iterator[str]:
    nodes, devices, strategy = (get(cfg, f"trainer.{key}") for key in ("num_nodes", "devices", "strategy"))
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
    elif limit.allows(int, tasks := get(cfg, "meta_batch")) and tasks % devices:
        yield (
            f"meta_batch is {tasks} and trainer.devices is {devices}: each process takes as many tasks of a batch, so "
            f"meta_batch must be a multiple of {devices}; set meta_batch={tasks + -tasks % devices}"
        )


def something_is_validated(cfg: Config) -> Iterator[str]:
    every, steps = get(cfg, "validate_every"), get(cfg, "steps")
    if limit.allows(int, every) and limit.allows(int, steps) and every > steps > 0:
        yield f"validate_every is {every} and steps is {steps}: nothing would be validated; set validate_every={steps}"


def vocabularies_agree(cfg: Config) -> Iterator[str]:
    size, vocabulary = get(cfg, "text.size"), get(cfg, "model.vocabulary")
    if size is not None and vocabulary is not None and size != vocabulary:
        yield (
            f"model.vocabulary is {vocabulary} and text.size is {size}: they must be equal; "
            "set model.vocabulary=${text.size}"
        )


def vectors_fit(cfg: Config) -> Iterator[str]:
    size = get(cfg, "model.vectors.size")
    for key in ("model.embedding", "model.dim"):  # of a Transformer the second
        if limit.allows(int, size) and (given := get(cfg, key)) not in (None, size):
            yield (
                f"{key} is {shown(given)} and model.vectors.size is {size}: they must be equal; "
                f"set {key}={size}, or choose other vectors"
            )


def positions_are_enough(cfg: Config) -> Iterator[str]:
    longest, positions = get(cfg, "task.max_length"), get(cfg, "model.max_length")
    if limit.allows(int, longest) and limit.allows(int, positions) and positions < longest:
        yield (
            f"model.max_length is {positions} and task.max_length is {longest}: a text may be longer than the "
            "model has positions for; set model.max_length=${task.max_length}"
        )


def compared_learners_are_whole(cfg: Config) -> Iterator[str]:
    compare = get(cfg, "compare")
    for name, node in compare.items() if isinstance(compare, dict) else ():
        if not isinstance(node, dict) or "_target_" not in node:
            yield (
                f"compare.{name} is {shown(node)}, which builds nothing: choose a learner for it, "
                f"learner@compare.{name}=..., with + in front where no learner is chosen yet, or take it out, "
                f"~compare.{name}"
            )


def compared_learners_are_known(cfg: Config) -> Iterator[str]:
    compare = blocks(cfg, "compare")
    for name, node in compare.items():
        others = [one for one in compare if one != name]
        given, known = node.get("start"), ["scratch", "trained", *others]
        if given is not None and given is not BROKEN and given not in known:
            has = f"{meant(given, known)}; there is {', '.join(others) or 'none'}"
            rule = "scratch or trained or another entry of compare"
            yield f"compare.{name}.start is {shown(given)}: it must name {rule}{has}"


def references_are_compared(cfg: Config) -> Iterator[str]:
    target = get(cfg, "learner._target_")  # the run's own learner is called as its module
    own = target.split(".")[-2:-1] if isinstance(target, str) else []
    known = [*blocks(cfg, "compare"), *own]
    for name in get(cfg, "reference") or []:
        if name not in known:
            yield (
                f"reference is {shown(get(cfg, 'reference'))}: {name} is no entry of compare{meant(name, known)}; "
                f"there is {', '.join(known) or 'none'}; set reference=[...] to some of them, or to []"
            )


def a_name_is_one_folder(cfg: Config) -> Iterator[str]:
    name = get(cfg, "name")
    if "name" in cfg and (not isinstance(name, str) or not name.strip() or name in (".", "..") or "/" in name):
        yield f"name is {shown(name)}: it must name one folder under paths.outputs; give a word without '/'"


def online_has_a_key(cfg: Config) -> Iterator[str]:
    if get(cfg, "logger.mode") == "online" and not has_key():
        yield (
            "logger.mode is online: W&B needs a key, and neither WANDB_API_KEY nor the netrc file has one; "
            "run `wandb login`, or set logger.mode to auto, offline or disabled"
        )
