"""Pre-training as a run like any other: same bits wherever it is cut, and other runs start from it."""

import json
import random
import signal

import pytest
import tiny
from omegaconf import OmegaConf

from metalingua.error import UserError
from metalingua.task.jigsaw import Jigsaw

STEP = "metalingua.training.module:SharedParameterModule.training_step"
ALONE = ["compare=null", "reference=[]"]


def prose(seed, texts=600):
    dice = random.Random(seed)
    words = [*tiny.GOOD, *tiny.BAD, *tiny.PLAIN]

    def sentence():
        return " ".join(dice.choices(words, k=dice.randint(6, 9))).capitalize() + dice.choice(".!?")

    return [" ".join(sentence() for _ in range(dice.randint(3, 6))) for _ in range(texts)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    (found / "prose.txt").write_text("\n".join(prose(0)))
    return found


def pretraining(folder, kind, *words):
    """The words for a small run of conf/task/KIND.yaml."""
    return [
        f"task={kind}", "text=masked_word", f"task.corpora.unlabeled.files.paths=[{folder}/prose.txt]",
        "task.shots=2", "task.queries=2", "task.max_length=12", *ALONE, "~learner.tuned", *words,
    ]  # fmt: skip


WIDE = [  # words of so little text are few: any may be hidden
    *(f"task.meta_train.{name}.band=[0,1]" for name in ("two_words", "three_words", "five_words")),
    "task.meta_validation.two_held_out_words.band=[0,1]",
    "task.meta_test.two_new_words.band=[0,1]",
]
KINDS = {
    "smlmt": ["smlmt", "learner=fomaml", *WIDE],
    "mlm": ["mlm", "learner=multi_task"],
    "meta_mlm": ["mlm", "learner=maml"],
    "jigsaw": ["jigsaw", "learner=fomaml"],
    "contrastive": ["contrastive", "learner=cosine_proto_net", "task.ways=8"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pretraining_run_cut_and_resumed_ends_with_the_same_bits_and_others_start_from_it(folder, kind):
    task, *more = KINDS[kind]
    words = pretraining(folder, task, f"name={kind}", *more)
    code, out, err = tiny.train(folder, *words, f"paths.outputs={folder}/whole")
    assert (code, err) == (0, ""), out
    (whole,) = (folder / f"whole/{kind}").iterdir()

    cut = [*words, f"paths.outputs={folder}/cut"]
    code, _, err = tiny.train(folder, *cut, trap=tiny.at(STEP, 8, tiny.KILL))
    assert code == -signal.SIGKILL, err
    code, out, err = tiny.train(folder, *cut)
    assert (code, err) == (0, "") and "from step 6" in out
    (resumed,) = (folder / f"cut/{kind}").iterdir()
    assert resumed.name == whole.name
    assert tiny.bits(resumed) == tiny.bits(whole)

    code, out, err = tiny.train(folder, *ALONE, f"model.init_from={whole}", f"name=after_{kind}")
    assert (code, err) == (0, ""), out
    (after,) = (folder / f"outputs/after_{kind}").iterdir()
    assert (after / "tokenizer.json").read_text() == (whole / "tokenizer.json").read_text()
    assert json.loads((after / "result.json").read_text())["init_from"]["run"] == str(whole)


def test_what_training_lowers_is_the_loss_on_held_out_sentences(folder):
    larger = ["task.ways=16", "meta_batch=1", "model.hidden=32", "model.embedding=32"]
    longer = [
        "task.meta_validation.held_out_text.dropout=0.2",
        "name=lowers",
        "steps=40",
        "validate_every=10",
        "optimizer.lr=0.01",
    ]
    words = pretraining(folder, "contrastive", "learner=cosine_proto_net", *larger, *longer)
    code, out, err = tiny.train(folder, *words)
    assert (code, err) == (0, ""), out
    (run,) = (folder / "outputs/lowers").iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["val/loss"] for line in lines if "val/loss" in line]
    assert len(losses) == 4 and losses[-1] < 0.8 * losses[0]


SMALL = ["model=transformer", "~model.hidden", "~model.embedding", "model.dim=4", "model.ffn=4", "model.heads=2"]
PIECES = {
    "wordpiece": ["smlmt", "learner=fomaml", "text.size=80", *WIDE, *SMALL],
    "bpe": ["mlm", "learner=multi_task", "text.size=300"],
}


@pytest.mark.parametrize("text", PIECES)
def test_pieces_of_words_are_learned_and_the_next_run_reads_as_this_one_did(folder, text):
    task, *more = PIECES[text]
    words = pretraining(folder, task, f"text={text}", f"name={text}", *more)
    code, out, err = tiny.train(folder, *(word for word in words if word != "text=masked_word"))
    assert (code, err) == (0, ""), out + err
    (run,) = (folder / f"outputs/{text}").iterdir()
    mine = OmegaConf.load(run / "config.yaml").text
    assert mine.algorithm == text and json.loads((run / "tokenizer.json").read_text())["model"]["type"].lower() == text

    given = [*ALONE, *(SMALL if text == "wordpiece" else []), f"model.init_from={run}", f"name=after_{text}"]
    code, out, err = tiny.train(folder, *given)  # without a word about text: conf/train.yaml says words, 60 of them
    assert (code, err) == (0, ""), out + err
    assert f"text is that of {run}" in out.replace("\n", " ")
    (after,) = (folder / f"outputs/after_{text}").iterdir()
    assert OmegaConf.load(after / "config.yaml").text == mine
    assert (after / "tokenizer.json").read_text() == (run / "tokenizer.json").read_text()
    assert "Done already" in tiny.train(folder, *given)[1]


def test_models_and_learners_that_cannot_tell_hidden_words_are_refused(folder):
    words = pretraining(folder, "mlm", "learner=multi_task")
    code, _, err = tiny.train(folder, *words, "model=cnn", "~model.hidden")
    assert code == 2 and "model refuses task.meta_train.hidden_words" in err and "choose model=lstm" in err
    code, _, err = tiny.train(folder, *pretraining(folder, "mlm"), "learner=proto_net")
    assert code == 2 and "learner refuses task.meta_train.hidden_words" in err and "hidden words" in err
    code, _, err = tiny.train(folder, *pretraining(folder, "mlm"), "text=word")
    assert code == 2 and "set text=masked_word" in err and "Traceback" not in err


REFUSED = {  # why a frozen model is, and what is said of one that is tuned
    "smlmt": ("it is frozen", None),
    "jigsaw": ("it is frozen", None),
    "mlm": ("features of single tokens", "features of single tokens"),
    "contrastive": ("drops none", "drops none"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_cannot_be_pretrained_is_refused_before_any_text_is_read(folder, kind):
    frozen, tuned = REFUSED[kind]
    words = [*pretraining(folder, kind, "learner=proto_net"), "~model.embedding", "~model.hidden"]
    words[2] = "task.corpora.unlabeled.files.paths=[no-such-file.txt]"
    code, out, err = tiny.train(folder, *words, "model=multilingual")
    assert code == 2 and f"model refuses task.meta_train.{'' if kind != 'mlm' else 'hidden_words'}" in err
    assert frozen in err and "model=lstm" in err and "model.tuning" not in err and "Reading corpora" not in out
    pretrained = ["model=huggingface", f"model.source.path={folder}"]
    code, out, err = tiny.train(folder, *words, *pretrained)
    assert code == 2 and frozen in err and ("set model.tuning=lora and text=pretrained, or" in err) == (tuned is None)
    code, out, err = tiny.train(folder, *words, *pretrained, "model.tuning=lora")
    assert code == 2 and (tuned or "no-such-file.txt: No such file") in err and ("Reading" in out) == (tuned is None)


def test_a_frozen_model_may_be_judged_on_unlabelled_text_that_it_is_not_trained_on(folder):
    from metalingua.result.identity import plain
    from metalingua.training.refusal import refuse_before_reading

    class Given:
        def __init__(self, split):
            self.rules = {"meta_train": {}, "meta_validation": {}, "meta_test": {}}
            self.rules[split] = {"orders": Jigsaw(corpus="unlabeled")}

    config = plain(tiny.compose(folder, "model=multilingual", "~model.embedding", "~model.hidden"))
    refuse_before_reading(config, Given("meta_test"))
    with pytest.raises(UserError, match="model refuses task.meta_train.orders"):
        refuse_before_reading(config, Given("meta_train"))
