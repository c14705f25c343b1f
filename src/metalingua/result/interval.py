"""How sure a mean is: 95 % intervals over seeds, or over the episodes of one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy

LEVEL = 0.95
RESAMPLES = 4999  # from one bootstrap seed to another, an end of the interval moves by about 1 % of its width


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, in the unit of the values.

    n       how many values it stands on: seeds or episodes
    method  what the interval is over, ready to be printed
    """

    estimate: float
    low: float
    high: float
    n: int
    method: str

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def scaled(self, factor: float) -> "Interval":
        """The same interval in another unit; `factor` is above 0."""
        return Interval(self.estimate * factor, self.low * factor, self.high * factor, self.n, self.method)


def mean_over_seeds(values: Sequence[float] | numpy.ndarray) -> Interval:
    """Student's t interval of the mean of `values` [seeds], one number a seed. For a paired comparison, pass the
    differences. Needs 2 seeds; 3 or more are worth reading. It covers what a new seed does on average.

    Raises ValueError for fewer than 2 values or a value that is not finite.
    """
    from scipy.stats import t

    seeds = _finite(values)
    n = len(seeds)
    estimate = float(seeds.mean())
    arm = float(t.ppf((1 + LEVEL) / 2, n - 1) * seeds.std(ddof=1) / numpy.sqrt(n))
    return Interval(estimate, estimate - arm, estimate + arm, n, f"95 % t interval over {n} seeds")


def bootstrap_over_episodes(values: Sequence[float] | numpy.ndarray, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean of `values` [episodes] of one run. For a paired comparison, pass the
    differences. It covers other episodes of this trained model, never another seed: hence "given this seed".

    seed  of the resampling alone
    Raises ValueError for fewer than 2 values or a value that is not finite. Constant values give a width of 0.
    """
    episodes = _finite(values)
    method = "95 % interval over episodes, given this seed"
    if (episodes == episodes[0]).all():  # no resample differs; going on would only add rounding noise
        constant = float(episodes[0])
        return Interval(constant, constant, constant, len(episodes), method)
    low, high = _bootstrap(episodes.tobytes(), seed)
    return Interval(float(episodes.mean()), low, high, len(episodes), method)


@lru_cache(maxsize=4096)  # a table and its figure ask for the same ones, and each takes 20 ms
def _bootstrap(content: bytes, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    episodes = numpy.frombuffer(content)
    found = bootstrap(
        (episodes,), numpy.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
        rng=numpy.random.default_rng(seed), batch=max(1, 1_000_000 // len(episodes)),  # at most 8 MB at a time
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _finite(values: Sequence[float] | numpy.ndarray) -> numpy.ndarray:
    array = numpy.asarray(values, dtype=numpy.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"an interval needs a row of 2 values or more, found shape {list(array.shape)}")
    bad = int((~numpy.isfinite(array)).sum())
    if bad:  # dropping them would unpair a comparison and flatter whoever failed
        raise ValueError(f"{bad} of {len(array)} values are NaN or infinite, so they have no mean")
    return array
