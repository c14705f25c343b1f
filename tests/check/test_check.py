import inspect
import itertools
import os
import subprocess
import sys
from copy import deepcopy
from typing import Annotated

import pytest
from omegaconf import OmegaConf

from metalingua.check.check import ConfigError, check
from metalingua.error import UserError
from metalingua.limit import Above, AtLeast, Below, OneOf, limited


class Learner:
    @limited("learner")
    def __init__(
        self,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0), Below(10)] | None = 0.1,
        order: Annotated[int, OneOf(1, 2)] = 1,
        tuned: dict | None = None,
        inner: object = None,
        of: str | None = None,
        start: str = "trained",
    ):
        pass


LEARNER = "check_sample.Learner"  # its source is copied to a module of that name
CORPUS = {"name": "tweets", "rating_range": [-4, 4], "labels": None, "source": "pypi", "pypi": {"file": "x"}}
GOOD = {
    "seed": 0,
    "steps": 100,
    "validate_every": 50,
    "episodes": {"validation": 50, "test": 200},
    "task": {
        "ways": 2, "shots": 5, "queries": 15,
        "corpora": {
            "tweets": CORPUS,
            "imdb": {"labels": ["negative", "positive"], "source": "${source}", "pypi": {}, "hub": {"path": "z"}},
        },
        "meta_train": {
            "polarity": {"corpus": "tweets", "cuts": [0]},
            "three": {"corpus": "tweets", "cuts": [-1, 1], "ways": 3},
            "rating": {"corpus": "tweets", "rating": True},
        },
        "meta_validation": {"held": {"corpus": "tweets", "cuts": [0.5], "share": [0.8, 1.0]}},
        "meta_test": {"imdb": {"corpus": "imdb", "title": "IMDb"}},
    },
    "source": "hub",
    "text": {"_target_": "metalingua.text.word.WordTokenizer", "size": 1000},
    "model": {"vocabulary": "${text.size}"},
    "learner": {"_target_": LEARNER, "steps": 5, "step_size": 1, "tuned": {"steps": [1, 5]}},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001},
    "trainer": {
        "_target_": "pytorch_lightning.Trainer",
        "max_steps": 100,
        "inference_mode": False,
        "callbacks": [{"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "monitor": "loss"}],
    },
    "compare": {
        "multi": {"_target_": LEARNER, "steps": 0},
        "tuned": {"_target_": LEARNER, "steps": 5},
        "fine": {"_target_": LEARNER, "steps": 0, "start": "scratch"},
    },
    "engine": {"threads": None},
    "logger": {"mode": "offline"},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("path")
    imports = "from typing import Annotated\nfrom metalingua.limit import Above, AtLeast, Below, OneOf, limited\n\n"
    (folder / "check_sample.py").write_text(imports + inspect.getsource(Learner))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def problems(**changes):
    """What check says of the good config with each dotted key (a__b for a.b) set to a value; [] if nothing."""
    cfg = OmegaConf.create(deepcopy(GOOD))
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, merge=False, force_add=True)
    return said(cfg)


def said(cfg):
    try:
        check(cfg)
    except ConfigError as error:
        return str(error).split("\n  - ")[1:]
    return []


def test_a_good_config_passes():
    assert problems() == []
    assert problems(task__meta_train__three__fixed_queries={"corpus": "imdb", "share": [0, 1], "each": 3}) == []


ONE = [  # a change of one key, and the whole sentence that it earns
    ({"trainer__devices": 2},
     "trainer.devices is 2: a run is one process, unless trainer=ddp shares its batches; "
     "add trainer=ddp, or set trainer.devices=1, and engine.threads for more cores"),
    ({"trainer__devices": "auto"},
     "trainer.devices is auto: it must be a whole number, at least 1: the number of processes of a run"),
    ({"meta_batch": 4, "trainer": {"devices": 3, "strategy": "ddp"}},
     "meta_batch is 4 and trainer.devices is 3: each process takes as many tasks of a batch, so meta_batch must be a "
     "multiple of 3; set meta_batch=6"),
    ({"trainer__strategy": "fsdp"},
     "trainer.strategy is fsdp: every process holds all parameters, in one process or by ddp; "
     "take trainer=default or trainer=ddp"),
    ({"trainer__num_nodes": 2},
     "trainer.num_nodes is 2: the processes of a run are of one machine; set trainer.num_nodes=1"),
    ({"learner__step_sise": 0.1},
     "learner.step_sise is 0.1: check_sample.Learner has no such argument (did you mean step_size?); "
     "it takes steps, step_size, order, tuned, inner, of, start"),
    ({"learner": {"_target_": LEARNER}},
     "learner.steps is missing: check_sample.Learner needs it; give learner.steps=..."),
    ({"learner___target_": "check_sample.Lerner"},
     "learner._target_ is check_sample.Lerner: check_sample has no Lerner (did you mean Learner?)"),
    ({"learner___target_": "metalinga.learner.Maml"},
     "learner._target_ is metalinga.learner.Maml: no package metalinga is installed (did you mean metalingua?)"),
    ({"learner___target_": "zzqq.Learner"},
     "learner._target_ is zzqq.Learner: no package zzqq is installed; correct the path, or install what it names"),
    ({"learner___target_": None},
     "learner._target_ is null: it must be text: the dotted path of a class or function"),
    ({"learner__steps": -1}, "learner.steps is -1: it must be a whole number, at least 0"),
    ({"learner__steps": "many"}, "learner.steps is many: it must be a whole number, at least 0"),
    ({"learner__steps": True}, "learner.steps is true: it must be a whole number, at least 0"),
    ({"learner__step_size": 0}, "learner.step_size is 0: it must be a number, above 0, below 10, or null"),
    ({"learner__order": 3}, "learner.order is 3: it must be one of 1, 2"),
    ({"learner__steps": "???"}, "learner.steps is ???: it has no default; give learner.steps=..."),
    ({"learner__steps": "${task.shot}"},
     "learner.steps is ${task.shot}: Interpolation key 'task.shot' not found; "
     "name a key that is there, or write the value"),
    ({"learner__inner": [{"_target_": LEARNER, "steps": -2}]},
     "learner.inner[0].steps is -2: it must be a whole number, at least 0"),
    ({"learner__tuned": {"steps": [1, -5]}}, "learner.tuned.steps is -5: it must be a whole number, at least 0"),
    ({"optimizer___partial_": False},
     "optimizer.params is missing: torch.optim.Adam needs it; give optimizer.params=..."),
    ({"seed": -1}, "seed is -1: it must be a whole number, at least 0"),
    ({"steps": 0}, "steps is 0: it must be a whole number, at least 1"),
    ({"validate_every": 0}, "validate_every is 0: it must be a whole number, at least 1"),
    ({"validate_every": 101},
     "validate_every is 101 and steps is 100: nothing would be validated; set validate_every=100"),
    ({"meta_batch": 0}, "meta_batch is 0: it must be a whole number, at least 1"),
    ({"checkpoint_every": 0}, "checkpoint_every is 0: it must be a whole number, at least 1"),
    ({"episodes__validation": 0}, "episodes.validation is 0: it must be a whole number, at least 1"),
    ({"episodes__test": 1}, "episodes.test is 1: it must be a whole number, at least 2"),
    ({"reference": ["tunde"]},
     "reference is ['tunde']: tunde is no entry of compare (did you mean tuned?); "
     "there is multi, tuned, fine, check_sample; set reference=[...] to some of them, or to []"),
    ({"name": "a/../../b"},
     "name is a/../../b: it must name one folder under paths.outputs; give a word without '/'"),
    ({"name": ""}, "name is '': it must name one folder under paths.outputs; give a word without '/'"),
    ({"rerun": "maybe"}, "rerun is maybe: it must be true or false"),
    ({"engine__threads": 0}, "engine.threads is 0: it must be a whole number, at least 1, or null"),
    ({"logger__mode": "onlin"}, "logger.mode is onlin: it must be one of auto, online, offline, disabled"),
    ({"task__ways": 1}, "task.ways is 1: it must be a whole number, at least 2"),
    ({"task__shots": 0}, "task.shots is 0: it must be a whole number, at least 1"),
    ({"task__queries": 0}, "task.queries is 0: it must be a whole number, at least 1"),
    ({"task__meta_train__three__fixed_queries": {"eech": 3}},
     "task.meta_train.three.fixed_queries.eech is 3: metalingua.task.task.FixedQueries has no such argument "
     "(did you mean each?); it takes corpus, share, each, yields"),
    ({"task__meta_train__three__fixed_queries": {"each": 0}},
     "task.meta_train.three.fixed_queries.each is 0: it must be a whole number, at least 1, or null"),
    ({"task__meta_train__three__fixed_queries": {"corpus": "imbd"}},
     "task.meta_train.three.fixed_queries.corpus is imbd: task.corpora has no such corpus (did you mean imdb?); "
     "it has tweets, imdb"),
    ({"task__meta_train__three__cutz": [0]},
     "task.meta_train.three.cutz is [0]: metalingua.task.task.Rule has no such argument (did you mean cuts?); "
     "it takes corpus, cuts, rating, share, classes, domains, ways, shots, queries, "
     "fixed_queries, weight, loss_weight, beam, metric, title, note"),
    ({"task__meta_test__imdb__corpus": "imbd"},
     "task.meta_test.imdb.corpus is imbd: task.corpora has no such corpus (did you mean imdb?); it has tweets, imdb"),
    ({"task__meta_test__imdb": {"title": "IMDb"}},
     "task.meta_test.imdb.corpus is missing: metalingua.task.task.Rule needs it; give task.meta_test.imdb.corpus=..."),
    ({"task__ways": 3, "task__meta_train__three__ways": None, "task__meta_train__polarity__ways": 2,
      "task__meta_validation__held__ways": 2},
     "task.corpora.imdb.labels is ['negative', 'positive']: that is 2 classes, fewer than the 3 ways of "
     "task.meta_test.imdb; set task.meta_test.imdb.ways=2"),
    ({"task__meta_test__polarity": {"corpus": "imdb"}},
     "task.meta_test.polarity is in meta_train too: a task belongs to one split; take it out of one"),
    ({"task__corpora__imdb__labels": None},
     "task.meta_test.imdb.corpus is imdb, which has neither labels nor rating_range: its text makes tasks as those of "
     "conf/task/smlmt.yaml; take another corpus, or give it labels"),
    ({"task__meta_train__three": {"_target_": "metalingua.task.jigsaw.Jigsaw", "corpus": "imdb", "pieces": 7}},
     "task.meta_train.three.pieces is 7: it must be a whole number, at least 2, at most 6"),
    ({"task__meta_test__imdb__cuts": [0]},
     "task.meta_test.imdb.cuts is [0]: task.corpora.imdb has no rating_range, so no ratings; "
     "take out cuts, or choose a corpus of ratings"),
    ({"task__meta_test__imdb__rating": True},
     "task.meta_test.imdb.rating is true: task.corpora.imdb has no rating_range, so no ratings; "
     "take out rating, or choose a corpus of ratings"),
    ({"task__meta_train__polarity__cuts": [9]},
     "task.meta_train.polarity.cuts is [9]: each must lie between -4 and 4, the rating_range of tweets"),
    ({"task__meta_train__polarity__cuts": [1, 1, -1]},
     "task.meta_train.polarity.cuts is [1, 1, -1]: cuts must increase; write [-1, 1]"),
    ({"task__meta_train__polarity__cuts": 0}, "task.meta_train.polarity.cuts is 0: it must be a list of numbers"),
    ({"task__meta_train__polarity__cuts": []},
     "task.meta_train.polarity.cuts is []: that makes task.meta_train.polarity a task with 1 class, "
     "and telling apart takes 2 or more; add one"),
    ({"task__meta_train__polarity__cuts": None},
     "task.meta_train.polarity.cuts is null: that makes task.meta_train.polarity a task with 1 class, "
     "and telling apart takes 2 or more; add one"),
    ({"task__corpora__imdb__labels": ["positive"]},
     "task.corpora.imdb.labels is ['positive']: that makes task.meta_test.imdb a task with 1 class, "
     "and telling apart takes 2 or more; add one"),
    ({"task__meta_train__polarity__ways": 3},
     "task.meta_train.polarity.cuts is [0]: that is 2 classes, fewer than the 3 ways of task.meta_train.polarity; "
     "set task.meta_train.polarity.ways=2"),
    ({"task__meta_test__imdb__classes": ["negative", "positiv"]},
     "task.meta_test.imdb.classes has 'positiv', no label of task.corpora.imdb (did you mean positive?)"),
    ({"task__meta_test__imdb__classes": ["negative", "positive", "positive"]},
     "task.meta_test.imdb.classes is ['negative', 'positive', 'positive']: name each class once"),
    ({"task__meta_test__imdb__classes": "negative"},
     "task.meta_test.imdb.classes is negative: it must be a list of labels of imdb"),
    ({"task__meta_test__imdb__classes": ["negative"]},
     "task.meta_test.imdb.classes is ['negative']: that makes task.meta_test.imdb a task with 1 class, "
     "and telling apart takes 2 or more; add one"),
    ({"task__meta_train__polarity__classes": ["bad"]},
     "task.meta_train.polarity.classes is ['bad']: task.corpora.tweets has ratings, no labels; take out classes"),
    ({"task__meta_train__rating__cuts": [0]},
     "task.meta_train.rating.cuts is [0] and task.meta_train.rating.rating is true: "
     "a task predicts a class or the rating; set cuts=null or rating=false"),
    ({"task__meta_train__three__domains": ["de"]},
     "task.meta_train.three is of the domains of its texts, and those of tweets say none: name the column that does, "
     "task.corpora.tweets.pypi.columns.domain, or take out task.meta_train.three.domains"),
    ({"task__corpora__tweets__source": "hub"},
     "task.corpora.tweets.source is hub: tweets has no block of that name; "
     "choose pypi, which it has, or write the block"),
    ({"model__vocabulary": 999},
     "model.vocabulary is 999 and text.size is 1000: they must be equal; set model.vocabulary=${text.size}"),
    ({"model__vectors": {"size": 50}, "model__embedding": 128},
     "model.embedding is 128 and model.vectors.size is 50: they must be equal; "
     "set model.embedding=50, or choose other vectors"),
    ({"compare__left": {"label": "x"}},
     "compare.left is {'label': 'x'}, which builds nothing: choose a learner for it, learner@compare.left=..., with "
     "+ in front where no learner is chosen yet, or take it out, ~compare.left"),
    ({"compare__left": None},
     "compare.left is null, which builds nothing: choose a learner for it, learner@compare.left=..., with + in front "
     "where no learner is chosen yet, or take it out, ~compare.left"),
    ({"compare__fine__start": "fine"},
     "compare.fine.start is fine: it must name scratch or trained or another entry of compare; there is multi, tuned"),
    ({"compare__fine__start": "scrach"},
     "compare.fine.start is scrach: it must name scratch or trained or another entry of compare "
     "(did you mean scratch?); there is multi, tuned"),
    ({"logger__mode": "online"},
     "logger.mode is online: W&B needs a key, and neither WANDB_API_KEY nor the netrc file has one; "
     "run `wandb login`, or set logger.mode to auto, offline or disabled"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"), ONE, ids=[f"{'+'.join(change)}={[*change.values()]}" for change, _ in ONE]
)
def test_one_problem_one_sentence(change, sentence):
    assert problems(**change) == [sentence]


def test_every_problem_stands_in_one_message():
    changes = {"seed": -1, "learner__steps": -1, "task__shots": 0, "compare__fine__start": "nobody", "steps": "???"}
    found = problems(**changes)
    assert len(found) == len(changes)
    for key in changes:
        assert sum(line.startswith(key.replace("__", ".") + " is ") for line in found) == 1


def test_the_message_counts_and_is_for_the_user():
    with pytest.raises(UserError, match=r"^the config has 2 problems:\n  - task\.queries is 0.*\n  - steps is 0.*$"):
        check(OmegaConf.create({"steps": 0, "task": {"queries": 0}}))
    with pytest.raises(UserError, match=r"^the config has a problem:\n"):
        check(OmegaConf.create({"steps": 0}))


def test_what_the_constructor_says_too_is_said_once():
    full = {"_target_": "metalingua.training.engine.Engine", "threads": 0}
    assert problems(engine=full) == ["engine.threads is 0: it must be a whole number, at least 1, or null"]


def test_keys_that_are_not_there_are_no_problem():
    assert said(OmegaConf.create({})) == []
    assert said(OmegaConf.create({"task": None, "compare": None, "logger": {}})) == []
    assert said(OmegaConf.create({"task": {"meta_train": {"x": None}}})) == []


def test_nonsense_is_a_problem_and_no_crash():
    nonsense = [None, 7, [1, "${nope}"], {1: {2: 3}}]
    keys = ["task", "task.corpora", "task.meta_train", "task.meta_train.three", "task.meta_train.three.corpus",
            "task.meta_train.three.cuts", "task.meta_train.three.ways", "task.meta_train.rating.rating", "task.ways",
            "task.corpora.imdb.source", "task.corpora.imdb.labels", "task.corpora.tweets.rating_range", "compare",
            "compare.fine.start", "learner.tuned", "learner._args_", "learner._partial_", "learner._target_", "logger",
            "text.size", "episodes"]  # fmt: skip
    for key in keys:  # [1, "${nope}"] is a problem anywhere; of the others, it depends
        found = [problems(**{key.replace(".", "__"): value}) for value in nonsense]
        assert any("${nope}" in line for line in found[2])


def test_regression_alone_needs_no_ways():
    task = {"ways": 1, "corpora": {"tweets": CORPUS}, "meta_train": {"x": {"corpus": "tweets", "rating": True}}}
    assert said(OmegaConf.create({"task": task})) == []
    task["meta_train"]["y"] = {"corpus": "tweets", "cuts": [0]}
    assert said(OmegaConf.create({"task": task})) == ["task.ways is 1: it must be a whole number, at least 2"]


def test_interpolations_are_judged_by_what_they_lead_to():
    assert problems(learner__steps="${task.shots}") == []
    assert problems(learner__steps="${source}") == ["learner.steps is hub: it must be a whole number, at least 0"]
    assert "Recursive" in problems(learner__steps="${learner.order}", learner__order="${learner.steps}")[0]


def test_a_mandatory_value_is_reported_where_it_stands_only():
    found = problems(text__size="???")
    assert found == ["text.size is ???: it has no default; give text.size=..."]


def test_positional_arguments_count_as_given():
    assert problems(learner={"_target_": LEARNER, "_args_": [3]}) == []
    assert problems(learner={"_target_": LEARNER, "_args_": []}) != []


def test_online_is_fine_with_a_key_in_the_environment_or_in_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert problems(logger__mode="online") == []
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    (tmp_path / "netrc").chmod(0o600)
    assert problems(logger__mode="online") == []
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")  # the key is for another server
    assert problems(logger__mode="online") != []
    (tmp_path / "netrc").write_text("nonsense\n")
    assert problems(logger__mode="online") != []


def test_constructor_and_check_agree_on_every_value():
    values = [-1, 0, 1, 2, 9.5, 10, 0.5, 1.0, True, None, "abc", "", [], {}, float("nan"), float("inf")]
    verdicts = set()
    for name, value in itertools.product(("steps", "step_size", "order"), values):
        node = {"steps": 1, name: value}
        try:
            Learner(**node)
            built = []
        except ValueError as error:
            built = str(error).splitlines()
        assert said(OmegaConf.create({"learner": {"_target_": LEARNER, **node}})) == built
        verdicts.add(bool(built))
    assert verdicts == {True, False}


def test_no_target_is_imported_and_a_first_check_is_fast():
    code = (
        "import sys, time; from omegaconf import OmegaConf; from metalingua.check.check import check\n"
        "start = time.process_time()\n"
        f"check(OmegaConf.create({GOOD!r}))\n"
        "taken = time.process_time() - start\n"
        "found = {'torch', 'pytorch_lightning', 'lightning', 'datasets', 'wandb', 'check_sample'} & set(sys.modules)\n"
        "assert not found, found\n"
        "print(taken)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = [subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True) for _ in range(3)]
    assert min(float(each.stdout) for each in done) < 0.3  # the least disturbed one
