"""Dropout that inputs ask for: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), JMLR 15."""

import numpy as np
import torch
from torch import Tensor

from metalingua.text.noise import Noise


def dropped(x: Tensor, noise: Noise | None, place: int) -> Tensor:
    """`x` with a share `noise.rate` of its numbers at 0 and the others divided by what is left of 1; without noise, `x`
    itself.

    place   0 or more, of this call in the encoder: at every place other numbers are dropped

    Which ones is a function of the noise, the place and the shape of `x`, whatever the machine, thread and precision.
    Linear in `x`, so that it has derivatives of any order.
    """
    if noise is None:
        return x
    kept = np.random.default_rng([noise.seed, place]).random(tuple(x.shape), dtype=np.float32) >= noise.rate
    return x * (torch.from_numpy(kept).to(x.device, x.dtype) / (1 - noise.rate))
