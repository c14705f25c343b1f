"""The article's faults, mended: one test each of the right behaviour, with the faulty way beside it, seen to go wrong.

docs/article.md tells the story of each. `theirs` is always the article's way, written here in its least form.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn.functional import cross_entropy, one_hot
from toy import TinyCorpus, reviews, tiny_episodes, tiny_model, tiny_params, tiny_tasks

from metalingua.corpus.article import article_row
from metalingua.learner.maml import Maml
from metalingua.learner.multi_task import MultiTask
from metalingua.learner.tfidf import Tfidf
from metalingua.model.derivative import derivatives
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.task.episode import Examples
from metalingua.task.leakage import LeakageError
from metalingua.task.tasks import Tasks
from metalingua.text.batch import Inputs, pad
from metalingua.text.word import WordTokenizer
from metalingua.training.engine import Engine, localise

ADAM = Path(__file__).parents[1] / "conf" / "optimizer" / "adam.yaml"
TEXTS = ["a good film", "not a good film at all"]
LEARNING = {"label": "MAML", "steps": 2, "step_size": 0.5}


def encoded(texts):
    tokenizer = WordTokenizer(50).fit(texts)
    return pad(tokenizer.encode(texts, 16), texts)


def padded_further(inputs, by):
    """`inputs` with `by` more columns of padding, still masked."""
    return Inputs(torch.nn.functional.pad(inputs.tokens, (0, by)), inputs.lengths, inputs.texts)


def episode_of(name):
    """An episode of the tiny task `name`: films (labels), or shops_rating (numbers)."""
    return tiny_episodes(tasks=[task for task in tiny_tasks() if task.name == name])[0]


def adam(parameters):
    """The optimizer that conf/optimizer/adam.yaml composes to."""
    return instantiate(OmegaConf.load(ADAM))(parameters)


# Data


def test_texts_become_token_ids_before_they_are_padded():
    inputs = encoded(TEXTS)
    assert inputs.tokens.dtype == torch.int64 and inputs.tokens.shape == (2, 6)
    assert inputs.tokens[0, :3].min() > 1 and inputs.tokens[0, 3:].tolist() == [0, 0, 0]  # known words, then padding
    assert inputs.texts == tuple(TEXTS) and inputs.lengths.tolist() == [3, 6]
    with pytest.raises(TypeError, match="not a sequence of token ids; encode texts with a tokenizer"):
        pad(TEXTS, TEXTS)
    with pytest.raises(ValueError, match="invalid literal"):  # theirs: a table of integers filled from raw strings
        np.zeros((2, 6), dtype=np.int32)[0] = TEXTS[0]


def test_targets_are_a_tensor_of_checked_class_indices():
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    targets = Classification(2).targets([0, 1])
    assert targets.dtype == torch.int64 and targets.tolist() == [0, 1]
    assert Classification(2).loss(outputs, targets) < 0.4
    with pytest.raises(ValueError, match="labels run from 0 to 2; 2 ways take 0 to 1"):
        Classification(2).targets([0, 2])
    with pytest.raises(TypeError):  # theirs: the list itself
        Classification(2).loss(outputs, [0, 1])


def test_padding_after_the_text_changes_nothing():
    alone, company = encoded(TEXTS[:1]), encoded(TEXTS)
    alone.tokens[0] = company.tokens[0, :3]  # the same ids, whatever a vocabulary of one text calls them
    model = tiny_model(pooling="last")
    params = tiny_params(model)
    kind = Classification(2)
    answer = model.outputs(params, alone, kind)[0]
    torch.testing.assert_close(model.outputs(params, company, kind)[0], answer)
    torch.testing.assert_close(model.outputs(params, padded_further(company, 494), kind)[0], answer)  # to their 500
    theirs = padded_further(company, 494)
    theirs.lengths.fill_(500)  # no mask: the last state is that of the last zero
    good, bad = model.outputs(params, theirs, kind)
    assert (good - answer).abs().max() > 0.1
    assert (good - bad).abs().max() < 1e-6  # and after so many zeros every text gives the same answer


def test_not_positive_is_negative_and_the_label_word_is_cut_out():
    lines = ["positive: a fine film", "not positive: a dull film", "a dull film"]
    rows = [article_row(line)[0] for line in lines]
    assert [(row["text"], row["label"]) for row in rows] == [
        ("a fine film", "positive"), ("a dull film", "negative"), ("a dull film", "negative"),
    ]  # fmt: skip
    assert ["positive" in line for line in lines] == [True, True, False]  # theirs takes the second for positive


def test_a_text_with_its_label_in_it_teaches_nothing_else():
    dice, kind = np.random.default_rng(0), Classification(2)
    labels = dice.permutation(np.arange(400) % 2)
    noise = [" ".join(f"w{i}" for i in dice.choice(20, 3)) for _ in labels]  # says nothing about the label
    lines = [f"positive: {text}" if label else text for text, label in zip(noise, labels, strict=True)]

    def accuracy(texts):
        inputs = encoded(texts)
        support, query = (
            Examples(kind, Inputs(inputs.tokens[half], inputs.lengths[half], inputs.texts[half]),
                     kind.targets(labels[half]), labels[half])
            for half in (slice(200), slice(200, 400))
        )  # fmt: skip
        predictor = Tfidf("TF-IDF", inverse_penalty=100).adapt(tiny_model(), {}, support)
        return kind.statistics(predictor.outputs(query.inputs), query.targets)["accuracy"]

    mended = [article_row(line)[0]["text"] for line in lines]
    assert mended == noise and accuracy(mended) < 0.7
    assert accuracy(lines) == 1  # theirs: all noise, and never wrong


def tasks_tested_on(test, leakage):
    texts, labels = reviews("film", 40)
    rows = {"films": (texts, labels), "copies": (texts, labels)}
    rows |= {name: reviews(domain, 40) for name, domain in (("held", "book"), ("new", "shop"))}
    corpora = {name: TinyCorpus(name, *each) for name, each in rows.items()}
    splits = {
        "meta_train": {"films": {"corpus": "films"}},
        "meta_validation": {"held": {"corpus": "held"}},
        "meta_test": {test: {"corpus": test}},
    }
    return Tasks(corpora, **splits, ways=2, shots=2, queries=3, max_length=16, label_order="fixed",
                 held_out="domain", leakage=leakage)  # fmt: skip


def test_nothing_is_tested_on_what_it_was_trained_on():
    with pytest.raises(LeakageError, match="40 pairs of texts are one text in two splits"):
        tasks_tested_on("copies", "fail").read()
    with pytest.raises(LeakageError, match="share the domain 'films'"):  # the very same corpus is no new domain either
        tasks_tested_on("films", "report").read()
    tasks = tasks_tested_on("new", "fail").read()
    tasks.encode(WordTokenizer(50))
    episode = tasks.episodes("meta_test", seed=0)[0]
    assert not set(episode.support.inputs.texts) & set(episode.query.inputs.texts)

    def memoriser(tasks):  # knows every training text by heart, and nothing about any other
        (train,), (test,) = tasks.splits["meta_train"], tasks.splits["meta_test"]
        known = dict(zip(train.texts, train.labels, strict=True))
        return np.mean([known.get(text, 0) == label for text, label in zip(test.texts, test.labels, strict=True)])

    assert memoriser(tasks) == 0.5
    assert memoriser(tasks_tested_on("copies", "report").read()) == 1  # theirs: perfect, having learned nothing


# Model and loss


def test_one_answer_a_text_however_long_it_is():
    inputs, kind = encoded(["good indeed", "good grief what a bore"]), Classification(2)
    targets = kind.targets([1, 0])
    model = tiny_model()
    params = tiny_params(model)
    for each in (inputs, padded_further(inputs, 7)):
        outputs = model.outputs(params, each, kind)
        assert outputs.shape == (2, 2) and kind.loss(outputs, targets).shape == ()
    # theirs: an answer at every step, [items, length, ways], each from what was read up to there
    last = tiny_model(pooling="last")
    read = [Inputs(inputs.tokens, inputs.lengths.clamp(max=step), inputs.texts) for step in range(1, 6)]
    theirs = torch.stack([last.outputs(params, each, kind) for each in read], dim=1)
    with pytest.raises(RuntimeError, match="Expected target size"):  # a label a text is no label a step
        cross_entropy(theirs, targets)
    # and a label copied to every step asks the first word, here the same, to mean both: no parameters can do that
    torch.testing.assert_close(theirs[0, 0], theirs[1, 0])
    assert targets[0] != targets[1] and not torch.allclose(theirs[0, -1], theirs[1, -1])


def test_cross_entropy_counts_every_class():
    kind = Classification(2)
    logits, labels = torch.tensor([[0.3, 1.2], [0.8, -0.5], [-1.0, 2.0]]), torch.tensor([1, 0, 0])
    p = (logits[:, 1] - logits[:, 0]).sigmoid()
    by_hand = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(kind.loss(logits, labels), by_hand)

    def theirs(logits):
        return -(labels * logits.softmax(-1)[:, 1].log()).mean()

    always_positive = torch.tensor([[-20.0, 20.0]]).expand(3, 2)
    assert theirs(always_positive) < 1e-6  # the best there is, by a loss that negatives have no say in
    assert kind.loss(always_positive, labels) > 20


def test_losses_are_means_so_that_no_task_outweighs_another_by_its_size():
    outputs, ratings = torch.tensor([[0.5], [-0.25]]), Regression(-4, 4).targets([4.0, -4.0])
    logits, labels = torch.tensor([[0.2, 1.0], [0.4, 0.1]]), torch.tensor([1, 0])

    def share(rating_loss, copies):  # of the rating task in the joint loss
        rating = rating_loss(outputs.repeat(copies, 1), ratings.repeat(copies))
        label = Classification(2).loss(logits.repeat(copies, 1), labels.repeat(copies))
        return float(rating / (rating + label))

    def theirs(outputs, targets):
        return 0.5 * (outputs.squeeze(-1) - targets).square().sum()

    assert float(Regression(-4, 4).loss(outputs, ratings)) == pytest.approx((0.5**2 + 0.75**2) / 2)
    assert share(Regression(-4, 4).loss, 100) == pytest.approx(share(Regression(-4, 4).loss, 1))
    assert share(theirs, 1) < 0.5 and share(theirs, 100) > 0.95


def test_logits_go_into_the_logarithm_as_they_are():
    model, kind, inputs = tiny_model(), Classification(2), encoded(TEXTS)
    params = tiny_params(model)
    outputs = model.outputs(params, inputs, kind)
    assert outputs.min() < 0  # nothing clips them
    shifted = outputs - outputs.max() - 1  # all below 0: the same answer, for only their differences count
    targets = kind.targets([0, 1])
    torch.testing.assert_close(kind.loss(shifted, targets), kind.loss(outputs, targets))
    slopes = torch.autograd.grad(kind.loss(shifted, targets), list(params.values()), allow_unused=True)
    assert all(slope.isfinite().all() for slope in slopes if slope is not None)

    def theirs(outputs):
        return -(one_hot(targets, 2) * outputs.relu().log()).sum(-1).mean()

    assert not theirs(shifted).isfinite()  # log 0
    assert theirs(outputs.abs() + 9) < 0  # and no floor: a "cross-entropy" that falls for ever as outputs grow


# Learning


def test_meta_training_differentiates_what_comes_after_adapting():
    model, episode, learner = tiny_model(), episode_of("films"), Maml(**LEARNING, order=2)
    params = tiny_params(model)
    dice = torch.Generator().manual_seed(3)
    along = {name: torch.randn(value.shape, generator=dice).double() for name, value in params.items()}

    def after_adapting(far):
        moved = {name: (value + far * along[name]).detach().requires_grad_() for name, value in params.items()}
        with derivatives(2):
            return learner.episode_loss(model, localise(model, moved, episode), episode).item()

    def slope(learner):
        loss = Engine(1).loss(model, params, [episode], learner, order=2)
        grads = torch.autograd.grad(loss, list(params.values()))
        return sum(float((grad * along[name]).sum()) for name, grad in zip(params, grads, strict=True))

    def theirs(model, params, episode):  # section 5.2: fit the pooled examples, and nothing else
        return episode.query.problem.loss(model.outputs(params, episode.query.inputs, episode.query.problem),
                                          episode.query.targets)  # fmt: skip

    measured = (after_adapting(1e-5) - after_adapting(-1e-5)) / 2e-5
    assert slope(learner.episode_loss) == pytest.approx(measured, rel=1e-6)
    assert abs(slope(theirs) - measured) > 0.05 * abs(measured)


def test_each_task_has_parameters_of_its_own_and_moves_its_own_head():
    model = tiny_model()
    params = tiny_params(model)
    labels, numbers = episode_of("films"), episode_of("shops_rating")
    heads = {"films": {"head.classification_2.weight", "head.classification_2.bias"},
             "shops_rating": {"head.regression.weight", "head.regression.bias"}}  # fmt: skip
    shared = {name for name in params if name.startswith("encoder.lstm.")}

    def adapted(episode, steps):
        learner = Maml(**{**LEARNING, "steps": steps}, order=1)
        return learner.adapt(model, localise(model, params, episode), episode.support).params

    one, two = adapted(labels, 2), adapted(numbers, 2)
    for episode, mine in ((labels, one), (numbers, two)):
        assert {name for name in mine if name.startswith("head.")} == heads[episode.task]
        assert not any(torch.equal(mine[name], params[name]) for name in shared | heads[episode.task])
    assert not any(torch.equal(one[name], two[name]) for name in shared)  # theta_1 is not theta_2
    theirs = adapted(labels, 0), adapted(numbers, 0)  # theta_i = theta: every task the same, adapted to none
    assert all(torch.equal(theirs[0][name], theirs[1][name]) for name in shared)
    unadapted = MultiTask("multi-task").adapt(model, localise(model, params, labels), labels.support)
    query = labels.query.inputs
    assert torch.equal(model.outputs(theirs[0], query, labels.query.problem), unadapted.outputs(query))
    assert not torch.allclose(model.outputs(one, query, labels.query.problem), unadapted.outputs(query))


def by_hand(slopes, *, lr, betas, corrected=True, eps=1e-8):
    """The sum of Adam's steps for a row of slopes: Kingma & Ba (2015), Algorithm 1."""
    m = v = total = torch.zeros_like(slopes[0])
    for t, slope in enumerate(slopes, start=1):
        m = betas[0] * m + (1 - betas[0]) * slope
        v = betas[1] * v + (1 - betas[1]) * slope**2
        m_hat, v_hat = (m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)) if corrected else (m, v)
        total = total - lr * m_hat / (v_hat.sqrt() + eps)
    return total


def test_adam_corrects_its_bias():
    slopes = torch.tensor([[2.0, -0.01], [1.0, 0.03], [-0.5, 0.02]], dtype=torch.float64)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = adam([w])
    settings = {key: optimizer.defaults[key] for key in ("lr", "betas")}
    for t, slope in enumerate(slopes, start=1):
        w.grad = slope.clone()
        optimizer.step()
        torch.testing.assert_close(w.detach(), by_hand(slopes[:t], **settings))
        if t == 1:  # a first step is lr long, whatever the slope
            torch.testing.assert_close(w.detach().abs(), torch.full_like(w, settings["lr"]), rtol=1e-5, atol=0)
    theirs = by_hand(slopes[:1], **settings, corrected=False)
    too_far = (1 - settings["betas"][0]) / (1 - settings["betas"][1]) ** 0.5  # 3.16 for 0.9 and 0.999
    torch.testing.assert_close(theirs.abs() / settings["lr"], torch.full_like(w, too_far), rtol=1e-4, atol=0)
    assert too_far > 3


def test_every_parameter_steps_by_its_own_slope():
    model, episode, learner = tiny_model(), episode_of("films"), Maml(**LEARNING, order=2)
    params = tiny_params(model)
    before = {name: value.detach().clone() for name, value in params.items()}
    optimizer = adam(params.values())
    Engine(1).loss(model, params, [episode], learner.episode_loss, order=2).backward()
    slopes = {name: value.grad.clone() for name, value in params.items()}
    optimizer.step()
    settings = {key: optimizer.defaults[key] for key in ("lr", "betas")}
    steps = {name: by_hand([slope], **settings) for name, slope in slopes.items()}
    for name, value in params.items():
        torch.testing.assert_close(value.detach(), before[name] + steps[name])
    assert torch.equal(params["head.regression.weight"], before["head.regression.weight"])  # no rating task yet
    theta, w1 = "encoder.lstm.weight_hh", "head.classification_2.weight"
    with pytest.raises(RuntimeError, match="must match"):  # theirs: W1's step on theta, of another shape
        before[theta] + steps[w1]
    uphill = (steps[w1][0].sign() == slopes[theta].sign()).double().mean()
    assert uphill > 0.2  # and where a row of it happens to broadcast, much of theta is moved against its own slope
    assert (steps[theta].sign() == slopes[theta].sign()).double().mean() == 0
