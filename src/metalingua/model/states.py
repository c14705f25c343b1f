"""States of every token of a text, of layers that nothing tunes: worked out when a text is first drawn."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from metalingua.text.batch import Inputs

# That are kept of one model: 2.8 million tokens of 384 numbers, half as many as float32. Learners draw the same texts
# one after another: where there is no room for all of them, none is found again.
BYTES = 2 << 30


class FrozenStates:
    """A text's states by its token ids, in memory: those of the texts that were asked for last.

    On disk they would be as many gigabytes as their texts are megabytes. Each text is worked out alone, without
    padding, so that its states are the same bits whoever asked for what before.

    states   token ids [length], and where the second part begins, to states [length, size]
    dtype    they are kept as: float16 takes half the room, float32 changes no bit
    """

    def __init__(self, states: Callable[[np.ndarray, int | None], Tensor], dtype: torch.dtype = torch.float16):
        self._states, self._dtype, self._lock, self._bytes = states, dtype, threading.Lock(), 0
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()

    def of(self, ids: np.ndarray, second: int | None = None) -> Tensor:
        """[length, size]."""
        key = repr(second).encode() + ids.astype("<i4").tobytes()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._states(ids, second).to(self._dtype)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = found
                self._bytes += found.nbytes
            while self._bytes > BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return found

    def rows(self, inputs: Inputs, size: int) -> Tensor:
        """[items, length of the longest, size] float32, 0 at padding."""
        lengths, ids = inputs.lengths.tolist(), inputs.token_ids.cpu().numpy()
        second = [None] * len(lengths) if inputs.second is None else inputs.second.tolist()
        found = torch.zeros(len(lengths), max(lengths), size)
        for row, read, length, part in zip(found, ids, lengths, second, strict=True):
            row[:length] = self.of(read[:length], part)
        return found
