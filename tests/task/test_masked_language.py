import numpy as np
import pytest
import torch
from torch.testing import assert_close
from toy import TinyCorpus, prose

from metalingua.error import UserError
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Model
from metalingua.model.transformer import TransformerEncoder
from metalingua.task.masked_language import MaskedLanguage
from metalingua.task.tasks import Tasks
from metalingua.text.word import WordTokenizer
from metalingua.training.stack import stacked_losses

TEXTS = prose()
SETTINGS = {"ways": 2, "shots": 3, "queries": 4, "max_length": 20, "label_order": "fixed", "held_out": "nothing",
            "leakage": "drop"}  # fmt: skip


def build(**settings):
    tasks = Tasks(
        corpora={"text": TinyCorpus("text", TEXTS)},
        meta_train={"words": MaskedLanguage(corpus="text", share=[0, 0.8], **settings)},
        meta_validation={"held": MaskedLanguage(corpus="text", share=[0.8, 0.9])},
        meta_test={"new": MaskedLanguage(corpus="text", share=[0.9, 1])},
        **SETTINGS,
    ).read()
    tasks.encode(WordTokenizer(200, mask=True))
    return tasks


TASKS = build()


def whole(half):
    """The ids of each sentence before words were hidden."""
    tokens = half.inputs.token_ids.clone()
    tokens[half.inputs.at[:, 0], half.inputs.at[:, 1]] = half.targets
    return [row[:n].tolist() for row, n in zip(tokens, half.inputs.lengths.tolist(), strict=True)]


def test_the_answers_are_the_words_that_stood_there():
    (task,) = TASKS.splits["meta_train"]
    known = {tuple(task.sentences[i].tolist()) for i in task.members}
    for index in range(20):
        episode = TASKS.episodes("meta_train", 0)[index]
        for half, texts in ((episode.support, 6), (episode.query, 8)):
            assert len(half.inputs.texts) == texts and len(half.inputs) == len(half.targets) == len(half.inputs.at)
            assert {tuple(row) for row in whole(half)} <= known
            assert (half.targets > 2).all()  # never padding, unknown or the mask itself
            places = [tuple(each) for each in half.inputs.at.tolist()]
            assert len(set(places)) == len(places)
            asked = torch.bincount(half.inputs.at[:, 0], minlength=texts)
            real = [sum(i > 2 for i in row) for row in whole(half)]
            assert asked.tolist() == [max(1, round(0.15 * n)) for n in real]
        assert not {tuple(t) for t in whole(episode.support)} & {tuple(t) for t in whole(episode.query)}
        assert episode.rows.tolist() == list(range(200))  # any token may be the answer


def test_of_ten_words_eight_are_masked_one_is_another_one_stays():
    episodes = TASKS.episodes("meta_train", 0)
    stands, was = [], []
    for index in range(150):
        half = episodes[index].query
        stands += half.inputs.token_ids[half.inputs.at[:, 0], half.inputs.at[:, 1]].tolist()
        was += half.targets.tolist()
    stands, was = np.array(stands), np.array(was)
    assert len(was) > 1000
    assert abs((stands == 2).mean() - 0.8) < 0.04
    assert abs((stands == was).mean() - 0.1) < 0.03
    (task,) = build(chosen=1.0, hidden_by_mask=1.0, hidden_by_word=0.0).splits["meta_train"]
    _, half, _ = task.draw(np.random.default_rng(0), 3, 4, "fixed")
    assert all(set(each.tolist()) <= {1, 2} for each in half.tokens)


def test_what_is_hidden_is_a_function_of_seed_split_and_index():
    def plain(tasks, seed, index):
        query = tasks.episodes("meta_train", seed)[index].query
        return query.inputs.token_ids.tolist(), query.inputs.at.tolist(), query.targets.tolist()

    again = build()
    assert [plain(TASKS, 0, i) for i in range(5)] == [plain(again, 0, i) for i in (4, 3, 2, 1, 0)][::-1]
    assert plain(TASKS, 0, 0) != plain(TASKS, 1, 0) != plain(TASKS, 0, 1)


def test_the_head_is_tied_to_the_embedding_table():
    assert TASKS.heads() == {"masked_words": 0}
    model = Model(LstmEncoder(200, 5, 4, "mean"), TASKS.heads())
    params = model.init(0)
    assert params["head.masked_words.weight"].shape == (5, 4) and params["head.masked_words.bias"].shape == (200,)
    dice = torch.Generator().manual_seed(0)
    params["head.masked_words.weight"] = torch.randn(5, 4, generator=dice)
    params["head.masked_words.bias"] = torch.randn(200, generator=dice)
    query = TASKS.episodes("meta_train", 0)[0].query
    outputs = model.outputs(params, query.inputs, query.problem)
    assert outputs.shape == (len(query.targets), 200)
    mine = {name.removeprefix("encoder."): value for name, value in params.items()}
    states = model.encoder.token_features(mine, query.inputs)
    item, place = query.inputs.at[1].tolist()
    table = params["encoder.embedding.weight"]
    by_hand = table @ (params["head.masked_words.weight"] @ states[item, place]) + params["head.masked_words.bias"]
    assert_close(outputs[1], by_hand)


def test_too_few_sentences_are_refused():
    with pytest.raises(UserError, match=r"task.meta_train.words has \d sentences and takes 14: lower task.shots"):
        Tasks(
            corpora={"text": TinyCorpus("text", TEXTS[:3])}, **SETTINGS,
            **{split: {"words": MaskedLanguage(corpus="text", share=share)} for split, share in
               (("meta_train", [0, 1]), ("meta_validation", [0, 1]), ("meta_test", [0, 1]))},
        ).read().encode(WordTokenizer(200, mask=True))  # fmt: skip


def test_many_tasks_as_one_are_a_loop_over_them():
    model = Model(TransformerEncoder(200, 4, 1, 2, 6, 20), TASKS.heads())
    params = {name: value.double() for name, value in model.init(0).items()}
    params["head.masked_words.weight"] = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()
    episodes = [TASKS.episodes("meta_train", 0)[i] for i in range(5)]

    def loss(model, mine, episode):
        return episode.query.problem.loss(
            model.outputs(mine, episode.query.inputs, episode.query.problem), episode.query.targets
        )

    found = stacked_losses(model, params, episodes, loss, 1)
    assert_close(found, torch.stack([loss(model, params, episode) for episode in episodes]))
