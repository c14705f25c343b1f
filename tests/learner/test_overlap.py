from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import EPISODES, Proof
from table import COLUMNS
from toy import tiny_model, tiny_params

from metalingua.learner.majority import Majority
from metalingua.learner.overlap import Overlap
from metalingua.learner.proto_net import ProtoNet
from metalingua.learner.ridge import Ridge
from metalingua.learner.soft_kmeans import SoftKMeans
from metalingua.problem.problem import Asked
from metalingua.problem.span import Span, Window
from metalingua.task.episode import Examples
from metalingua.text.batch import pad
from metalingua.text.word import WordTokenizer

QUESTION = "who wrote the first program"
CONTEXT = "the first program was written by ada for an engine . it rains in may , and blue is the sea ."
TOKENIZER = WordTokenizer(60).fit([QUESTION, CONTEXT])
LEARNER = Overlap("lexical overlap", reach=6, price=0.05, least=0)
SPAN = Span(longest=5, abstains=True)


def asked(question=QUESTION, context=CONTEXT, frequency=None):
    """Inputs of one window, and its gold."""
    (pair,) = next(TOKENIZER.pairs([question], [context], 60))
    places = np.concatenate([[0], np.arange(pair.second, pair.stop)])
    at = torch.from_numpy(np.stack([np.zeros_like(places), places], 1))
    share = torch.full((60,), 1 / 60) if frequency is None else frequency
    inputs = replace(pad([pair.tokens], [question]), at=at, second=torch.tensor([pair.second]), frequency=share)
    return Asked(inputs, (Window(0, context, pair.begins, pair.ends, ("ada",)),))


def answer(learner=LEARNER, **keys):
    given = asked(**keys)
    outputs = learner.adapt(None, {}, None).outputs(given.inputs)
    return SPAN.answers(outputs, given)[0]


def test_the_answer_is_where_the_words_of_the_question_are_and_none_of_them():
    said = answer()
    assert "ada" in said.split() or "written" in said.split()
    assert not set(said.split()) & set(QUESTION.split())


def test_no_answer_where_no_word_of_the_question_stands_or_too_few():
    assert answer(context="it rains in may .") == ""
    assert answer(Overlap("", reach=6, price=0.05, least=100)) == ""


def test_rare_words_count_more():
    context = "the sea is blue . ada is first ."
    often = torch.full((60,), 1e-3)
    often[TOKENIZER.vocabulary["the"]] = 0.5
    assert "ada" in answer(question="the first", context=context, frequency=often)
    often[[TOKENIZER.vocabulary["the"], TOKENIZER.vocabulary["first"]]] = torch.tensor([1e-3, 0.9])
    assert "sea" in answer(question="the first", context=context, frequency=often)


def test_it_refuses_what_is_no_question():
    assert LEARNER.refuses(SPAN) is None
    assert "a question" in LEARNER.refuses(EPISODES[0].support.problem)


def support():
    """Of one question, for learners that adapt."""
    given = asked()
    labels = np.zeros((len(given.inputs.at), 3), dtype=np.int64)
    begin = 1 + CONTEXT.split().index("ada")
    labels[begin, 1:] = 1
    return Examples(SPAN, given.inputs, SPAN.targets(labels), labels, None, given.gold), begin


@pytest.mark.parametrize("learner", [ProtoNet("p"), Ridge("r", 0.1, 1.0)])
def test_heads_made_from_the_support_set_find_its_own_answer_again(learner):
    examples, _ = support()
    model = tiny_model(embedding=16, hidden=12, heads={"span": 2})
    params = {**tiny_params(model, torch.float32), **learner.init(model, 0)}
    outputs = learner.adapt(model, params, examples).outputs(examples.inputs)
    assert SPAN.statistics(outputs, examples.targets, Asked(examples.inputs, examples.gold))["exact_match"] == 1


def test_no_answer_is_what_the_majority_says():
    examples, _ = support()
    outputs = Majority("no answer").adapt(None, {}, examples).outputs(examples.inputs)
    assert SPAN.answers(outputs, Asked(examples.inputs, examples.gold)) == {0: ""}


def test_learners_that_share_items_out_among_classes_refuse_spans():
    assert SoftKMeans("soft k-means", 1).refuses(SPAN).startswith("begin and end of an answer are places")
    assert ProtoNet("ProtoNet").refuses(SPAN) is None


class TestOverlap(Proof):
    learner = LEARNER
    lacks = dict.fromkeys(COLUMNS, "it answers questions about a context, and the tasks of these proofs have classes")
