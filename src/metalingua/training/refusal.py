"""What learners cannot do is said before anything is trained, with the names of those that can."""

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf

import metalingua
from metalingua.error import UserError
from metalingua.learner.learner import Learner
from metalingua.model.model import Encoder, Model
from metalingua.result.identity import encoder_config
from metalingua.task.tasks import Tasks
from metalingua.task.unlabelled import Unlabelled
from metalingua.training.learners import Config, build, learner_name, learners, left_out


def refuse_before_reading(config: Config, tasks: Tasks) -> None:
    """Raise UserError if the model cannot learn what tasks of unlabelled text ask for. No corpus is read yet."""
    unlabelled = {
        f"task.{split}.{name}": each
        for split, rules in tasks.rules.items()
        for name, each in rules.items()
        if isinstance(each, Unlabelled)
    }
    if not unlabelled:
        return
    encoder = instantiate(encoder_config(config))
    hide = [key for key, each in unlabelled.items() if each.of_tokens]
    if hide and not (encoder.of_tokens and encoder.rows):
        raise UserError(
            f"model refuses {', '.join(hide)}: hidden words are told by features of single tokens and an embedding "
            "table, and this model lacks them; choose model=lstm or model=transformer"
        )
    noisy = [key for key, each in unlabelled.items() if each.noisy]
    if noisy and not encoder.drops:
        raise UserError(
            f"model refuses {', '.join(noisy)}: two readings of a sentence differ by the numbers that the model drops, "
            "and this one drops none; choose a model from scratch, model=lstm or model=transformer"
        )
    trained = [key for key in unlabelled if key.startswith("task.meta_train.")]
    if trained and not encoder.learns:
        tune = "set model.tuning=lora and text=pretrained, or " if "tuning" in config["model"] else ""
        raise UserError(
            f"model refuses {', '.join(trained)}: pre-training learns features from unlabelled text, and nothing of "
            f"this model is learned (it is frozen); {tune}choose a model from scratch, model=lstm or model=transformer"
        )


def refuse_or_go_on(config: Config, tasks: Tasks) -> None:
    """Raise UserError, naming all, if a learner cannot do what it will be asked for."""
    own, compared = learner_name(config["learner"]), config["compare"]
    encoder = instantiate(encoder_config(config))
    problems = {f"task.{split}.{task.name}": task.problem for split, given in tasks.splits.items() for task in given}
    of_tokens = [name for name, problem in problems.items() if problem.of_tokens]
    told = [name for name, problem in problems.items() if problem.tells]
    if told and not encoder.tells:
        raise UserError(
            f"model refuses {', '.join(told)}: a translation is made token by token, and this model reads those behind "
            "a token too, which are not there yet; choose model=seq2seq_transformer or model=seq2seq_lstm (an "
            "encoder of your own that reads none of them says so: tells = True)"
        )
    if of_tokens and not encoder.of_tokens:
        raise UserError(
            f"model refuses {', '.join(of_tokens)}: their items are tokens, and this model has features of whole texts "
            "alone; choose model=lstm, model=transformer, model=minilm, or model=bilstm_attention model.heads=1"
        )
    keys = {"learner": config["learner"]}
    keys |= {f"compare.{name}": each for name, each in compared.items() if name not in left_out(config)}
    refusals = [  # a learner calls its own keys learner.KEY
        re.sub(r"(?<![\w.@])learner\.", f"{key}.", f"{key} {words}")
        for key, each in keys.items()
        for words in misfits(build(each), tasks, encoder)
    ]
    if refusals:
        able = [name for name, each in offered(config) if not any(misfits(build(each), tasks, encoder))]
        can = f"of conf/learner, these can: {', '.join(able)}" if able else "no learner of conf/learner can"
        way_out = [f"{can}; or take the learner out (~learner@compare.NAME), or the task (~task.SPLIT.NAME)"]
    else:
        way_out = []
    names = list(Model(encoder, tasks.heads()).init(seed=0))
    for key, each in keys.items():
        refusals += [*_start_problems(key, build(each), config), *_frozen_problems(key, each, names)]
    if f"compare.{own}" in keys:
        refusals.append(f"compare.{own} has the name of the run's own learner: give it another, compare.NAME")
    if refusals:
        raise UserError("\n  - ".join(["learners, tasks and model do not fit:", *refusals, *way_out]))


def misfits(learner: Learner, tasks: Tasks, encoder: Encoder) -> Iterator[str]:
    """What it refuses and why, a sentence a reason."""
    if learner.training != "none" and learner.order > encoder.derivatives:
        yield (
            f"refuses the model: it is meta-trained by derivatives of order {learner.order}, and model has no "
            f"derivative above order {encoder.derivatives}"
        )
    if learner.needs_table and not encoder.rows:
        yield "refuses the model: it works on an embedding table, and model has none among what is learned"
    if learner.needs_encoder and not encoder.learns:
        yield "refuses the model: it works by moving the encoder, and nothing of this one is learned (it is frozen)"
    learner.fit(tasks.labelled("meta_train"))
    trained = sorted({task.problem.name for task in tasks.splits["meta_train"]})
    reasons = defaultdict(list)
    for split, given in tasks.splits.items():
        for task in given if split != "meta_train" or learner.training != "none" else ():
            reason = learner.refuses(task.problem)
            if task.problem.tied and not learner.tells_tokens:
                reason = "any token may be the answer (hidden words, translations), and it knows classes alone"
            elif task.problem.of_tokens and not learner.of_tokens:
                reason = "its items are tokens, and it answers for whole texts"
            if reason is None and learner.reads_names and task.names is None:
                reason = (
                    "it reads what classes are called, and these have no names in words (cut ratings, hidden words, "
                    "mere ids): give them some (corpus.label_words), or choose learner=proto_net, which needs none"
                )
            if reason is None and learner.needs_head and task.problem.name not in trained:
                reason = f"it needs a trained head of {task.problem.name}; meta-training has {', '.join(trained)}"
            if reason:
                reasons[reason].append(f"task.{split}.{task.name}")
    for reason, names in reasons.items():
        yield f"refuses {', '.join(names)}: {reason}"


def offered(config: Config) -> Iterator[tuple[str, Config]]:
    """Name and config of every yaml of conf/learner, as the run of `config` would have it."""
    mine = Path(metalingua.__file__).parents[2] / "conf"  # where nothing is being composed: beside the sources
    hydra = GlobalHydra.instance()
    with nullcontext() if hydra.is_initialized() else initialize_config_dir(str(mine), version_base="1.3"):
        names = sorted(GlobalHydra.instance().config_loader().get_group_options("learner"))
        found = compose(overrides=[f"+learner@{name}={name}" for name in names])
    for name in names:
        whole = OmegaConf.create({**config, "learner": found[name]})
        yield name, OmegaConf.to_container(whole.learner, resolve=True)  # type: ignore[misc]


def _frozen_problems(key: str, learner: Config, names: Sequence[str]) -> Iterator[str]:
    """Patterns of `frozen` that freeze none of the model's parameters `names`."""
    for pattern in learner.get("frozen") or ():
        if pattern.startswith("encoder.") and not any(name.startswith("encoder.") for name in names):
            continue  # the encoder is frozen as it is
        if not fnmatch.filter(names, pattern):
            yield f"{key}.frozen has {pattern!r}, which matches no parameter; there are {', '.join(names)}"


def _start_problems(key: str, learner: Learner, config: Config) -> Iterator[str]:
    """Why there are no parameters for it to start from."""
    start, own = learner.start, build(config["learner"])
    if learner.training != "none" or start == "scratch":
        return
    if start == "trained":
        if own.training == "none":
            yield (
                f"{key}.start is trained, which is what the run's own learner trains, and {own.label} trains nothing: "
                "compare it with a learner that does, +learner@compare.NAME=..."
            )
        return
    given = learners(config).get(start)
    if given is None or build(given).training == "none":
        gap = "is not there" if given is None else "trains nothing"
        yield f"{key}.start is {start}: compare.{start} {gap}; take one that is trained, learner@compare.{start}=..."
