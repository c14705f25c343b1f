"""A model entered part of the way up: what lies below its tuned layers runs once for a text, not at every step."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Entry:
    """The tuned layers of a model, given the states that enter them.

    model   its modules, whose layers below no longer run; for one thread at a time
    stack   name of its list of layers
    layer   place of the lowest tuned one in that list, 1 or more

    Raises ValueError for a model whose upper layers read more than what the layer below them gives.
    """

    def __init__(self, model: nn.Module, stack: str, layer: int):
        self._model, answers = model, []
        layers: nn.ModuleList = model.get_submodule(stack)  # type: ignore[assignment]
        given = {"input_ids": torch.arange(4)[None], "attention_mask": torch.ones(1, 4, dtype=torch.long)}
        handle = layers[0].register_forward_hook(lambda module, args, answer: answers.append(answer))
        with torch.no_grad():
            whole, states = model(**given).last_hidden_state, entering(model, f"{stack}.{layer}", given)
            handle.remove()
            self._alone = isinstance(answers[0], Tensor)
            for below in layers[:layer]:
                below.forward = self._answer
            try:
                same = torch.allclose(self({}, given, states), whole, rtol=1e-4, atol=1e-5)
            except Exception:  # whatever a kind of model does with answers that it does not know
                same = False
        if not same:
            raise ValueError(f"layer {layer} of {type(model).__name__} reads more than the states of the one below")

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


class _Reached(Exception):
    """The layer was reached."""
