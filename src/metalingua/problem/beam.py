"""Beam search: the likeliest sequence, token by token, of many texts at once (Sutskever et al. 2014, section 3.2)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from metalingua.text.batch import Inputs


def beam_search(
    answers: Callable[[Inputs], Tensor], inputs: Inputs, *, beam: int, longest: int, end: int, allowed: Tensor
) -> list[list[int]]:
    """What follows the first token of each text's second part: a list of tokens, without `end`.

    answers  inputs to logits of the next token, [items, tokens]
    inputs   texts of two parts; of the second one only its first token is read
    beam     hypotheses kept; 1 takes the likeliest token each time
    longest  tokens at most, `end` among them: the last one can be nothing else
    allowed  [tokens] bool, what may be said; `end` may

    The score of a hypothesis is its mean log probability a token, `end` counted, so that short ones have no advantage.
    A text is done once it has as many whole hypotheses as `beam`, each of them among the `beam` best of its step.
    """
    assert inputs.second is not None
    device, begins = inputs.tokens.device, inputs.second + 1
    width = int(begins.max()) + longest
    rows = torch.zeros(len(begins), 1, width, dtype=torch.int64, device=device)  # [texts, hypotheses, width]
    read = min(width, inputs.tokens.shape[1])
    given = torch.arange(read, device=device) < begins.unsqueeze(1)
    rows[:, 0, :read] = inputs.tokens[:, :read] * given
    scores = torch.zeros(len(begins), 1, device=device)
    alive = torch.arange(len(begins), device=device)  # the texts that go on
    best = torch.full((len(begins),), -torch.inf, device=device)
    whole, found = torch.zeros_like(begins), [list[int]() for _ in begins]
    for step in range(longest):
        texts, kept, _ = rows.shape
        lengths = begins[alive] + step  # so many tokens are there; the next one goes to this place
        logits = answers(_hypotheses(inputs, alive, rows, lengths))
        likely = logits.log_softmax(1).to(scores.dtype).masked_fill(~allowed, -torch.inf)
        if step == longest - 1:
            likely = likely.masked_fill(torch.arange(likely.shape[1], device=device) != end, -torch.inf)
        following = (scores.unsqueeze(2) + likely.view(texts, kept, -1)).flatten(1)
        top, which = following.topk(min(2 * beam, following.shape[1]), 1)  # at most half of them end
        hypothesis, token = which // likely.shape[1], which % likely.shape[1]
        ends = (token == end) & (top > -torch.inf)
        ending = (top / (step + 1)).masked_fill(~ends, -torch.inf)[:, :beam]
        score, at = ending.max(1)
        for i in (score > best[alive]).nonzero().flatten().tolist():
            text, from_ = int(alive[i]), int(begins[alive[i]])
            best[text] = score[i]
            found[text] = rows[i, hypothesis[i, at[i]], from_ : from_ + step].tolist()
        whole[alive] += ends[:, :beam].sum(1)
        scores, at = top.masked_fill(token == end, -torch.inf).topk(min(beam, top.shape[1]), 1)
        rows = rows[torch.arange(texts, device=device).unsqueeze(1), hypothesis.gather(1, at)]
        place = lengths.view(-1, 1, 1).expand(-1, rows.shape[1], 1).clamp(max=width - 1)
        rows = rows.scatter(2, place, token.gather(1, at).unsqueeze(2))
        on = whole[alive] < beam
        alive, rows, scores = alive[on], rows[on], scores[on]
        if not len(alive):
            break
    return found


def _hypotheses(inputs: Inputs, alive: Tensor, rows: Tensor, lengths: Tensor) -> Inputs:
    """`rows` [texts, hypotheses, width] as inputs whose items are their last tokens; `lengths` [texts] are real."""
    assert inputs.second is not None
    kept = rows.shape[1]
    lengths, second = (each.repeat_interleave(kept) for each in (lengths, inputs.second[alive]))
    at = torch.stack([torch.arange(len(lengths), device=rows.device), lengths - 1], 1)
    texts = tuple(inputs.texts[i] for i in alive.tolist() for _ in range(kept))
    tokens = rows.flatten(0, 1)[:, : int(lengths.max())]
    return replace(inputs, tokens=tokens, lengths=lengths, texts=texts, at=at, second=second)
