"""A model entered part of the way up: what lies below its tuned layers runs once for a text, not at every step."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional


class Entry:
    """The tuned layers of a model, given the states that enter them.

    model   its modules, whose layers below no longer run; for one thread at a time
    stack   name of its list of layers
    layer   place of the lowest tuned one in that list, 1 or more

    Raises ValueError for a model whose upper layers read more than what the layer below them gives.
    """

    def __init__(self, model: nn.Module, stack: str, layer: int):
        self._model, self._alone = model, True
        layers: nn.ModuleList = model.get_submodule(stack)  # type: ignore[assignment]
        try:
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                same = self._same(layers, layer, f"{stack}.{layer}")
        except Exception as error:  # whatever a kind of model does where it is not run from its beginning to its end
            raise ValueError(f"{type(model).__name__} cannot be entered at layer {layer}: {error}") from error
        if not same:
            raise ValueError(f"layer {layer} of {type(model).__name__} reads more than the states of the one below")

    def _same(self, layers: nn.ModuleList, layer: int, name: str) -> bool:
        """Take the layers below out. Whether two texts, entered with the states that each has alone, end as before."""
        first, second = torch.arange(1, 6), torch.arange(1, 4)
        both = _given(torch.stack([first, functional.pad(second, (0, 2))]), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]))
        answers: list[Any] = []
        handle = layers[0].register_forward_hook(lambda module, args, answer: answers.append(answer))
        whole = self._model(**both).last_hidden_state
        handle.remove()
        alone = [
            entering(self._model, name, _given(text[None], torch.ones_like(text[None]))) for text in (first, second)
        ]
        if [each.shape[:2] for each in alone] != [(1, 5), (1, 3)]:
            return False  # it pads its texts itself, or has time before items
        states = nn.utils.rnn.pad_sequence([each.squeeze(0) for each in alone], batch_first=True)
        self._alone = isinstance(answers[0], Tensor)
        for below in layers[:layer]:
            below.forward = self._answer
        found = self({}, both, states)
        real = both["attention_mask"].bool()
        return found.shape == whole.shape and torch.allclose(found[real], whole[real], rtol=1e-4, atol=1e-5)

    def __call__(self, tuned: dict[str, Tensor], given: dict[str, Tensor], states: Tensor) -> Tensor:
        """The last states [items, length, size] of what is `given`, from those that enter, with the `tuned` tensors."""
        self._states = states
        return functional_call(self._model, tuned, (), given).last_hidden_state

    def _answer(self, *args: Any, **named: Any) -> Any:
        """In place of a layer below, in the form of the model's layers: a tensor, or the first of a tuple."""
        return self._states if self._alone else (self._states,)


def entering(model: nn.Module, layer: str, given: dict[str, Tensor]) -> Tensor:
    """What enters the layer of this name, [items, length, size], when `model` reads `given`; nothing above it runs."""
    found: list[Tensor] = []

    def stop(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.append(args[0] if args else named["hidden_states"])
        raise _Reached

    handle = model.get_submodule(layer).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**given)
    except _Reached:
        pass
    finally:
        handle.remove()
    return found[0]


def _given(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    return {"input_ids": ids, "attention_mask": mask}


class _Reached(Exception):
    """The layer was reached."""
