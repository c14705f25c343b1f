"""That a batch is to be read with noise: what an encoder then drops is decided by these two numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """Of one reading of a batch. It comes with the inputs, so that features stay a function of them: on any number of
    threads, in a run that is resumed, in every inner step."""

    seed: int  # 0 or more: another seed drops other numbers
    rate: float  # share of the numbers that is dropped, above 0 and below 1
