"""What meta-training computes: floating-point operations by torch's own counter."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from metalingua.model import native
from metalingua.model.derivative import derivatives
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode
from metalingua.training.device import device_of
from metalingua.training.engine import EpisodeLoss, slopes_of
from metalingua.training.stack import placed

ATEN = torch.ops.aten


def flops(model: Model, params: Params, episodes: Sequence[Episode], episode_loss: EpisodeLoss) -> float:
    """Operations of a task's loss and its gradient, mean over `episodes`: two for each multiplication in a product of
    matrices; what is elementwise does not count.

    Counted on the kernels that have every derivative the encoder has, and for a recurrence in torch's loops: fused ones
    and those in C, which may train, compute the same, but the counter cannot see it. What a model works out once for
    a text and keeps is not counted: it is no part of a step.
    """
    here = [placed(episode, device_of(params)) for episode in episodes]
    with torch.no_grad(), derivatives(model.encoder.derivatives):
        for half in (half for episode in here for half in (episode.support, episode.query)):
            model.encoder.keep(half.inputs)
    with native.set_aside(), FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        for episode in here:
            slopes_of(model, params, episode, episode_loss, model.encoder.derivatives)
    return counter.get_total_flops() / len(episodes)


def _product(into: Any, one: Any, other: Any, *rest: Any, **more: Any) -> int:
    return 2 * prod(one) * other[-1]


IN_PLACE = {ATEN.addmm_: _product, ATEN.baddbmm_: _product}  # torch's counter knows those that make a new tensor
