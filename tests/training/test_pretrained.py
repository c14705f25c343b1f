"""Whole runs on a tiny pretrained encoder: every learner on frozen features, and every way of tuning."""

import json

import bert
import pandas
import pytest
import tiny

NAMES = sorted(path.stem for path in (tiny.REPO / "conf/learner").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    experiment = folder / "conf/experiment/tiny.yaml"  # of an LSTM: its settings go
    lines = experiment.read_text().splitlines()
    experiment.write_text("\n".join(line for line in lines if not line.startswith(("text:", "model:"))))
    (folder / "bert").mkdir()
    bert.save(folder / "bert", words=tiny.GOOD + tiny.BAD + tiny.PLAIN, vocab_size=60)
    return folder


def run(folder, *words):
    given = ["model=huggingface", f"model.source.path={folder}/bert", "steps=4", "validate_every=4", *words]
    return tiny.Started(folder, *given).end(600)


def able(folder, *words):
    """Learners that do not refuse the model."""
    from hydra.utils import instantiate

    from metalingua.result.identity import encoder_config, plain
    from metalingua.training.learners import build
    from metalingua.training.reading import read
    from metalingua.training.refusal import misfits, offered

    cfg = tiny.compose(folder, "model=huggingface", f"model.source.path={folder}/bert", *words)
    tasks, encoder = read(cfg).tasks, instantiate(encoder_config(cfg))
    return [name for name, each in offered(plain(cfg)) if not any(misfits(build(each), tasks, encoder))]


def test_every_learner_on_frozen_features_is_judged_or_refuses(folder):
    has = {"unadapted", "multi_task", "multi_task_finetuned", "single_task", "tfidf", "majority"}
    can = able(folder)
    assert {"maml", "ridge", "proto_net", "fine_tune_head"} <= set(can)
    assert {"boil", "warp", "cavia"}.isdisjoint(can) and "boil" in able(folder, "model.tuning=lora")
    added = [f"+learner@compare.{name}={name}" for name in can if name not in has | {"maml"}]
    code, out, err = run(folder, "~learner.tuned", *added, f"paths.outputs={folder}/all")
    assert (code, err) == (0, ""), err
    (found,) = [
        each.parent for each in folder.glob("all/*/*/result.json") if len(json.loads(each.read_text())["settings"]) > 1
    ]
    assert set(pandas.read_parquet(found / "episodes.parquet")["learner"]) == set(can)
    assert "Nothing to meta-train: the model is frozen, and ProtoNet has no parameters of its own" in out


def test_proto_net_alone_trains_nothing_and_goes_on_being_done(folder):
    words = ["learner=proto_net", "compare=null", "reference=[]", "~learner.tuned", f"paths.outputs={folder}/proto"]
    code, out, err = run(folder, *words)
    assert (code, err) == (0, ""), err
    assert "Nothing to meta-train" in out and "Meta-training" not in out
    assert "Done already" in run(folder, *words)[1]


@pytest.mark.parametrize("tuning", ["last_layers", "lora", "full"])
def test_every_way_of_tuning_trains_and_keeps_what_it_tunes(folder, tuning):
    alone = ["compare=null", "reference=[]", f"model.tuning={tuning}", f"paths.outputs={folder}/{tuning}"]
    code, out, err = run(folder, *alone)
    assert (code, err) == (0, ""), err
    (found,) = folder.glob(f"{tuning}/*/*/checkpoints/best.ckpt")
    from metalingua.training.checkpoint import read_weights

    names = [name for name in read_weights(found) if name.startswith("encoder.")]
    assert names and ("encoder.embedding.weight" in names) == (tuning == "full")


def test_words_that_the_model_does_not_read_are_refused_before_training(folder):
    code, out, err = run(folder, "text=word", f"paths.outputs={folder}/word")
    assert code == 2 and "set text=pretrained" in err and not (folder / "word").exists()


NAMED = ["~task.meta_train.stars_polarity", "~learner.tuned", "reference=[]"]


@pytest.mark.parametrize("learner", ["named_proto_net", "proto_net"])
def test_names_of_classes_are_kept_with_the_texts_where_they_are_read(folder, learner):
    words = ["model=huggingface", f"model.source.path={folder}/bert", f"corpus.cache={folder}/cache_{learner}"]
    module = tiny.training(folder, *NAMED, *words, f"learner={learner}", "compare=null").module
    ids = bert.tokenizer(folder / "bert").encode(["positive", "negative"], 12)
    new = module.model.encoder._frozen.fill(ids)
    assert new == (0 if learner == "named_proto_net" else 1)  # both are unknown words to it, so one text


def test_of_a_frozen_model_the_weight_of_names_is_all_that_is_learned(folder):
    alone = [*NAMED, "learner=named_proto_net", "compare=null", f"paths.outputs={folder}/named"]
    code, out, err = run(folder, *alone)
    assert (code, err) == (0, ""), err
    from metalingua.training.checkpoint import read_weights

    (found,) = folder.glob("named/*/*/checkpoints/best.ckpt")
    moved = {name for name, value in read_weights(found).items() if value.ne(0).any()}
    assert moved == {"learner.named_proto_net.log_worth"}
