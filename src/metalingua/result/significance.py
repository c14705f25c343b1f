"""How easily chance alone makes a paired difference: a sign-flip test, and Holm's adjustment for many of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy

LEVEL = 0.05
RESAMPLES = 9999  # so a p is at least 2 / 10,000, and near 0.05 its error is 0.002; up to 13 values all flips are tried
DECIMALS = 12  # means that differ by less are ties: 0.1 + 0.2 is 0.3 here


@dataclass(frozen=True)
class Significance:
    """Two-sided p of one paired difference, alone and after Holm's adjustment for all tests of its family."""

    p: float
    holm: float

    @property
    def significant(self) -> bool:
        return self.holm <= LEVEL


def sign_flip(differences: Sequence[float] | numpy.ndarray) -> numpy.ndarray:
    """Two-sided p of the mean of paired differences [..., n], shape [...]: how often is it as far from 0 if each
    difference might as well have had the other sign? Where differences are of episodes, that swaps the two learners'
    scores within an episode, a paired permutation.

    By scipy.stats.permutation_test: exact where all 2^n flips are at most RESAMPLES, else by RESAMPLES random ones, the
    same for all rows. Differences of seeds speak of a new seed; those of one run's episodes of other episodes of this
    trained model, "given this seed".

    Raises ValueError for fewer than 2 differences or one that is not finite.
    """
    array = numpy.asarray(differences, dtype=numpy.float64)
    if array.ndim < 1 or array.shape[-1] < 2:
        raise ValueError(f"a test needs 2 differences or more, found shape {list(array.shape)}")
    if bad := int((~numpy.isfinite(array)).sum()):
        raise ValueError(f"{bad} of {array.size} differences are NaN or infinite, so they cannot be tested")
    if not array.size:
        return numpy.ones(array.shape[:-1])
    rows = array.reshape(-1, array.shape[-1])
    return numpy.array(_sign_flip(rows.tobytes(), rows.shape[-1])).reshape(array.shape[:-1])


@lru_cache(maxsize=256)  # a run's table, its figure and its mirror ask for the same ones
def _sign_flip(content: bytes, n: int) -> tuple[float, ...]:
    from scipy.stats import permutation_test

    rows = numpy.frombuffer(content).reshape(-1, n)
    found = permutation_test(
        (rows,), _mean, permutation_type="samples", vectorized=True, axis=-1, n_resamples=RESAMPLES,
        batch=max(1, 1_000_000 // rows.size), rng=numpy.random.default_rng(0),
    )  # fmt: skip
    return tuple(map(float, found.pvalue))


def _mean(values: numpy.ndarray, axis: int) -> numpy.ndarray:
    return numpy.round(values.mean(axis=axis), DECIMALS)


def exact(n: int) -> bool:
    """Whether `sign_flip` tries every flip of n differences."""
    return 2**n <= RESAMPLES


def smallest(n: int, tests: int = 1) -> float:
    """The smallest p that `sign_flip` of n differences can give, after Holm over so many tests."""
    return min(1.0, tests * 2 / (2**n if exact(n) else RESAMPLES + 1))


def enough(tests: int) -> int:
    """How many differences (seeds) the smallest of `tests` p needs, to be LEVEL or less after Holm."""
    return next(n for n in range(2, 1024) if tests * 2 / 2**n <= LEVEL)


def how(n: int, of: str, tests: int) -> str:
    """The test of n differences of seeds, episodes, ... (`of`), in words."""
    return f"{'exact sign-flip test' if exact(n) else 'sign-flip test'} over {n} {of}, Holm over {tests} differences"


def reach(n: int, of: str, tests: int) -> str:
    """What a star means; or that none can be there, since n differences are too few for so many tests."""
    least, after = smallest(n), smallest(n, tests)
    if after <= LEVEL:
        return f"*: p is {LEVEL} or less after Holm."
    return (
        f"A sign-flip test over {n} {of} cannot go below p = {least:.2g} (two-sided), after Holm over {tests} "
        f"differences not below {after:.2g}: here it can find nothing; that takes {enough(tests)} {of}."
    )


def holm(p: Sequence[float] | numpy.ndarray) -> numpy.ndarray:
    """p after Holm's step-down adjustment [..., tests], same order: called significant at 0.05 or less, the chance of
    one false call or more in a row of tests is at most 0.05, however they depend on each other.

    Holm (1979), A simple sequentially rejective multiple test procedure. scipy has only false discovery rates.
    """
    values = numpy.asarray(p, dtype=numpy.float64)
    order = values.argsort(axis=-1)
    left = numpy.arange(values.shape[-1], 0, -1)  # tests that are not rejected yet
    stepped = numpy.maximum.accumulate(left * numpy.take_along_axis(values, order, -1), axis=-1)
    adjusted = numpy.empty_like(values)
    numpy.put_along_axis(adjusted, order, stepped.clip(max=1.0), -1)
    return adjusted
