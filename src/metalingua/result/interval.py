"""How sure a mean is: 95 % intervals over seeds, or over the episodes of one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy

LEVEL = 0.95
FEWEST_EPISODES = 10  # for a bootstrap that covers 93 to 97 % of the time: tests/result/test_coverage.py
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

    def within(self, least: float, greatest: float) -> "Interval":
        """The same interval as far as it is between the two."""
        low, high = max(self.low, least), min(self.high, greatest)
        return Interval(self.estimate, low, high, self.n, self.method)

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
    """Bootstrap interval of the mean of `values` [episodes] of one run. For a paired comparison, pass the differences.
    It covers other episodes of this trained model, never another seed: hence "given this seed". It does so as often as
    it says from FEWEST_EPISODES on.

    seed  of the resampling alone
    Raises ValueError for fewer than 2 values or a value that is not finite. Constant values give a width of 0.
    """
    episodes = _finite(values)
    method = f"95 % interval over {len(episodes)} episodes, given this seed"
    if (episodes == episodes[0]).all():  # no resample differs; going on would only add rounding noise
        constant = float(episodes[0])
        return Interval(constant, constant, constant, len(episodes), method)
    low, high = _bootstrap(episodes.tobytes(), seed)
    return Interval(float(episodes.mean()), low, high, len(episodes), method)


@lru_cache(maxsize=4096)  # a table and its figure ask for the same ones, and each takes 20 ms
def _bootstrap(content: bytes, seed: int) -> tuple[float, float]:
    low, high = ends(numpy.frombuffer(content), seed)
    return float(low), float(high)


def ends(values: numpy.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Low and high ends [...] of the bootstrap interval of the mean of `values` [..., episodes].

    scipy's percentile bootstrap at the level of `expanded`: at the plain level it is too narrow, for want of
    sqrt(n / (n - 1)) and of t: it covers 91 % instead of 95 at 10 episodes, 93.5 at 60. BCa mends skew, not this.
    """
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,), numpy.mean, axis=-1, n_resamples=resamples, confidence_level=expanded(values.shape[-1]),
        method="percentile", rng=numpy.random.default_rng(seed), batch=max(1, 1_000_000 // values.size),
    ).confidence_interval  # fmt: skip
    return found.low, found.high


def expanded(n: int) -> float:
    """The level at which a percentile bootstrap of n values has to be read so that it covers LEVEL of the time.

    Hesterberg (2015), What teachers should know about the bootstrap: the expanded percentile interval.
    """
    from scipy.stats import norm, t

    return float(1 - 2 * norm.cdf(-numpy.sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1)))


def _finite(values: Sequence[float] | numpy.ndarray) -> numpy.ndarray:
    array = numpy.asarray(values, dtype=numpy.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"an interval needs a row of 2 values or more, found shape {list(array.shape)}")
    bad = int((~numpy.isfinite(array)).sum())
    if bad:  # dropping them would unpair a comparison and flatter whoever failed
        raise ValueError(f"{bad} of {len(array)} values are NaN or infinite, so they have no mean")
    return array
