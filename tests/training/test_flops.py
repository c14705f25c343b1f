"""Counted operations against those worked out by hand."""

import bert
import pytest
import torch
from toy import tiny_episodes

from metalingua.learner.maml import Maml
from metalingua.model import huggingface
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Model
from metalingua.model.transformer import TransformerEncoder
from metalingua.training.flops import flops
from metalingua.training.module import SharedParameterModule

EPISODE = tiny_episodes("meta_train")[0]


def joint(model, params, episode):
    return SharedParameterModule.episode_loss(None, model, params, episode)


def counted(encoder, episode_loss=joint):
    model = Model(encoder, {EPISODE.support.problem.name: EPISODE.support.problem.outputs})
    return flops(model, model.init(0), [EPISODE, EPISODE], episode_loss)


def sizes():
    for half in (EPISODE.support, EPISODE.query):
        yield len(half.inputs), half.inputs.tokens.shape[1], int(half.inputs.lengths.sum())


def test_a_transformer_layer_by_hand():
    dim, ffn, heads, outputs = 8, 12, 2, EPISODE.support.problem.outputs
    encoder = TransformerEncoder(50, dim, 1, heads, ffn, 64)
    products = 0
    for items, length, _ in sizes():
        rows = items * length
        products += rows * (3 * dim * dim + dim * dim + 2 * dim * ffn) + 2 * items * length * length * dim
        products += items * dim * outputs
    # two operations a multiplication; backward takes two products for each one
    assert counted(encoder) == 2 * 3 * products


def test_an_lstm_by_hand():
    embedding, hidden, outputs = 6, 32, EPISODE.support.problem.outputs
    encoder = LstmEncoder(50, embedding, hidden, pooling="last")
    products = 0
    for items, _, _ in sizes():
        products += items * hidden * outputs
    recurrent = (
        sum(tokens - items for items, _, tokens in sizes()) * 4 * hidden * hidden
    )  # nothing before the first step
    found = counted(encoder) / 6 - products - recurrent
    assert 0 < found <= sum(tokens for _, _, tokens in sizes()) * embedding * 4 * hidden  # each word is projected once


def test_more_steps_and_higher_orders_take_more():
    encoder = TransformerEncoder(50, 8, 1, 2, 12, 64)

    def maml(steps, order):
        return counted(encoder, Maml("", steps=steps, step_size=0.1, order=order).episode_loss)

    assert maml(0, 1) < maml(1, 1) < maml(2, 1) < maml(2, 2)


@pytest.mark.parametrize("place", ["addmm_", "baddbmm_"])
def test_products_in_place_count(place):
    from torch.utils.flop_counter import FlopCounterMode

    from metalingua.training.flops import IN_PLACE

    shape = ((2, 3), (2, 4), (4, 3)) if place == "addmm_" else ((5, 2, 3), (5, 2, 4), (5, 4, 3))
    into, one, other = (torch.ones(each) for each in shape)
    found = []
    for mapping in (None, IN_PLACE):
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            getattr(into, place)(one, other)
        found.append(counter.get_total_flops())
    assert found == [0, 2 * 2 * 3 * 4 * (5 if place == "baddbmm_" else 1)]


def test_what_is_kept_of_a_text_is_not_counted_whether_it_is_there_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "_STATES", {})
    folder = bert.save(tmp_path, num_hidden_layers=3, vocab_size=60)
    encoder = bert.encoder(folder, tuning="last_layers", layers=1)
    first = counted(encoder)
    assert counted(encoder) == first
    two = counted(bert.encoder(folder, tuning="last_layers", layers=2))
    assert 2 * first < two < 2.2 * first  # what enters the lowest of them has no slope
