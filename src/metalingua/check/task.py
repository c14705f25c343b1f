"""What a config may not say of its tasks and corpora: a rule each. A key that is not there is no problem."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any

from metalingua import limit
from metalingua.check.arguments import argument_problems, meant
from metalingua.check.config import BROKEN, Config, blocks, get
from metalingua.limit import AtLeast, complaint, shown

SPLITS = ("meta_train", "meta_validation", "meta_test")
SOURCES = ("pypi", "hub", "files")


def _tasks(cfg: Config) -> Iterator[tuple[str, Config, Config]]:
    """Every task: its key, itself, its corpus (empty if unknown)."""
    corpora = blocks(cfg, "task.corpora")
    for split in SPLITS:
        for name, task in blocks(cfg, f"task.{split}").items():
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


def tasks_take_their_keys(cfg: Config) -> Iterator[str]:
    for key, task, _ in _tasks(cfg):
        if "_target_" not in task:  # else they are its class's arguments
            yield from argument_problems(key, {**task, "_target_": "metalingua.task.task.Rule"})
            if isinstance(fixed := task.get("fixed_queries"), dict):
                target = {"_target_": "metalingua.task.task.FixedQueries"}
                yield from argument_problems(f"{key}.fixed_queries", {**fixed, **target})


def a_label_is_there_to_learn(cfg: Config) -> Iterator[str]:
    for key, task, corpus in _tasks(cfg):
        answers = [corpus.get("labels"), corpus.get("rating_range")]
        own = "metalingua.corpus.table.Columns"  # others find answers of their own: tags, translations
        plain = get(corpus, "files.columns._target_") in (None, own) and not get(corpus, "files.target_language")
        if corpus and plain and "_target_" not in task and answers == [None, None]:
            yield (
                f"{key}.corpus is {shown(task.get('corpus'))}, which has neither labels nor rating_range: its "
                "text makes tasks as those of conf/task/smlmt.yaml; take another corpus, or give it labels"
            )


def two_ways_or_more(cfg: Config) -> Iterator[str]:
    tasks = list(_tasks(cfg))
    if tasks and all(task.get("rating") is True for _, task, _ in tasks):
        return  # regression tells no classes apart
    for key, group in [("task", get(cfg, "task")), *((key, task) for key, task, _ in tasks)]:
        ways = get(group, "ways")
        if ways is not None and (problem := complaint(f"{key}.ways", ways, Annotated[int, AtLeast(2)])):
            yield problem


def corpora_are_known(cfg: Config) -> Iterator[str]:
    corpora = blocks(cfg, "task.corpora")
    for key, task, _ in _tasks(cfg):
        for at in ("corpus", "fixed_queries.corpus"):
            name = get(task, at)
            if name is not None and str(name) not in corpora:
                has = f"it has {', '.join(corpora)}" if corpora else "it is empty"
                yield f"{key}.{at} is {shown(name)}: task.corpora has no such corpus{meant(name, corpora)}; {has}"


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
                    yield f"{key}.classes has {label!r}, no label of task.corpora.{name}{meant(label, known)}"
            if len(set(map(str, classes))) < len(classes):
                yield f"{key}.classes is {shown(classes)}: name each class once"


def domains_are_said(cfg: Config) -> Iterator[str]:
    corpora = blocks(cfg, "task.corpora")
    for key, task, _ in _tasks(cfg):
        names = [task.get("corpus"), get(task, "fixed_queries.corpus")]
        if "_target_" in task or not (
            known := [(str(name), corpora[str(name)]) for name in names if str(name) in corpora]
        ):
            continue
        columns = {name: f"{corpus.get('source')}.columns" for name, corpus in known}
        says = {name: get(corpus, f"{columns[name]}.domain") is not None for name, corpus in known}
        for name in columns if task.get("domains") or any(says.values()) else ():
            if not says[name]:
                yield (
                    f"{key} is of the domains of its texts, and those of {name} say none: name the column that does, "
                    f"task.corpora.{name}.{columns[name]}.domain, or take out {key}.domains"
                )


def a_task_is_in_one_split(cfg: Config) -> Iterator[str]:
    first: dict[str, str] = {}
    for split in SPLITS:
        for name in blocks(cfg, f"task.{split}"):
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


def classes_are_enough(cfg: Config) -> Iterator[str]:
    for key, task, corpus in _tasks(cfg):
        classes, ways = _classes(task, corpus), get(task, "ways") or get(cfg, "task.ways")
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
    for name, corpus in blocks(cfg, "task.corpora").items():
        source, has = corpus.get("source"), [one for one in SOURCES if corpus.get(one) is not None]
        if source is not None and source is not BROKEN and source not in has:
            way_out = f"choose {' or '.join(has)}, which it has, or write the block" if has else "write the block"
            yield f"task.corpora.{name}.source is {shown(source)}: {name} has no block of that name; {way_out}"
