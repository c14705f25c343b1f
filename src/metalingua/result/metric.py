"""What a score is: a column of episodes.parquet, how episodes make one number of it, and how that is printed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Metric:
    """A column of episodes.parquet.

    title, unit      of the score and of a difference of two, as a table prints them
    factor, digits   what it is multiplied by to be printed, and how exactly
    beside           metrics that a table about this one prints too
    pooled           sums over episodes [..., n] to scores [...]: an episode holds n counts then, and no score of its
                     own (F1, BLEU, correlation: no means of episodes). None: the score is the mean of the episodes'
    note             what stands under a table of it
    bounds           least and greatest score, unscaled: no interval of one goes beyond
    quick            what stands in for it after each inner step, where it takes a search; "": itself
    """

    name: str
    title: str
    unit: str = "points"
    factor: float = 100.0
    digits: int = 1
    lower_is_better: bool = False
    beside: tuple[str, ...] = ()
    pooled: Callable[[numpy.ndarray], numpy.ndarray] | None = None
    note: str = ""
    bounds: tuple[float, float] = (0.0, 1.0)
    quick: str = ""

    @property
    def printed(self) -> tuple["Metric", ...]:
        """Itself, then those beside it."""
        return self, *(METRICS[name] for name in self.beside)

    @property
    def column(self) -> str:
        """Its name in csv, with its unit."""
        unit = {"points": "_percent", "rating points": "_points"}.get(self.unit, "")
        return f"{self.name}{unit}"

    def better(self, one: float, other: float) -> bool:
        return one < other if self.lower_is_better else one > other

    def per_episode(self, values: "Sequence[Any] | pandas.Series") -> numpy.ndarray:
        """A number an episode [episodes], float64, whose mean is the score of all of them, unscaled.

        values   the column: a number an episode, or its counts where the score is pooled

        Pooled scores are no means, so these are jackknife pseudo-values, n times the score of all less n - 1 times that
        without the episode (Efron & Tibshirani 1993, section 11.5), moved so that their mean is the score itself.
        Bootstrap intervals, paired differences and sign flips over episodes then stand on these as on any others.
        """
        if self.pooled is None:
            return numpy.asarray(values, dtype=numpy.float64)
        if any(value is None or isinstance(value, float) for value in values):
            return numpy.full(len(values), numpy.nan)  # of no use: whoever asks says so
        counts = numpy.array([numpy.asarray(value, dtype=numpy.float64) for value in values])
        total, n = counts.sum(axis=0), len(counts)
        whole = self.pooled(total)
        if n == 1:
            return whole.reshape(1)
        pseudo = n * whole - (n - 1) * self.pooled(total - counts)
        return pseudo - pseudo.mean() + whole


def f1(counts: numpy.ndarray) -> numpy.ndarray:
    """2 right / (found + there) of counts (right, found, there) [..., 3]; 0 where there is nothing to find."""
    return _over(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def macro_f1(counts: numpy.ndarray) -> numpy.ndarray:
    """The mean over classes of their F1, of a confusion matrix [..., ways * ways]: true class by class answered.

    A class that neither occurs nor is answered counts 0, as scikit-learn has it where all labels are named.
    """
    ways = round(counts.shape[-1] ** 0.5)
    matrix = counts.reshape(*counts.shape[:-1], ways, ways)
    right = matrix.diagonal(axis1=-2, axis2=-1)
    return _over(2 * right, matrix.sum(-1) + matrix.sum(-2)).mean(-1)


def pearson(counts: numpy.ndarray) -> numpy.ndarray:
    """The correlation, of sums (n, x, y, x x, y y, x y) [..., 6]; 0 where one of them is constant."""
    n, x, y, xx, yy, xy = numpy.moveaxis(counts, -1, 0)
    spread = numpy.sqrt(numpy.clip(n * xx - x * x, 0, None) * numpy.clip(n * yy - y * y, 0, None))
    return _over(n * xy - x * y, numpy.where(spread > 1e-9 * numpy.abs(xx * yy), spread, 0))


def bleu(counts: numpy.ndarray) -> numpy.ndarray:
    """BLEU, 0 to 1 (Papineni et al. 2002), of sums [..., 10]: n-grams found, n-grams said (n from 1 to 4), words said,
    words of the references. An order of which none is found counts 1 / 2^k of one, its k-th, as sacreBLEU has it."""
    found, said, length, wanted = counts[..., :4], counts[..., 4:8], counts[..., 8], counts[..., 9]
    none = (found == 0) & (said > 0)
    precision = _over(numpy.where(none, 0.5 ** none.cumsum(-1), found), said)
    usable = numpy.asarray((precision > 0).all(-1) & (found > 0).any(-1))
    mean = numpy.exp(numpy.log(numpy.where(usable[..., None], precision, 1)).mean(-1))
    short = numpy.exp(numpy.minimum(0, 1 - _over(wanted, length)))
    return numpy.where(usable, short * mean, 0.0)


def chrf(counts: numpy.ndarray) -> numpy.ndarray:
    """chrF, 0 to 1 (Popovic 2015), of sums [..., 3 * orders]: character n-grams said, of the references, found; orders
    that one side lacks left out, recall worth twice precision, as sacreBLEU has it."""
    said, there, found = numpy.moveaxis(counts.reshape(*counts.shape[:-1], -1, 3), -1, 0)
    there_are = (said > 0) & (there > 0)
    orders = there_are.sum(-1)
    precision, recall = (_over((_over(found, whole) * there_are).sum(-1), orders) for whole in (said, there))
    return _over(5 * precision * recall, 4 * precision + recall)


def _over(above: numpy.ndarray, below: numpy.ndarray) -> numpy.ndarray:
    above, below = numpy.asarray(above, dtype=numpy.float64), numpy.asarray(below, dtype=numpy.float64)
    return numpy.divide(above, below, out=numpy.zeros_like(above), where=below != 0)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy, %", beside=("balanced_accuracy",)),
        Metric("balanced_accuracy", "balanced accuracy, %"),
        Metric("macro_f1", "macro F1, %", beside=("accuracy",), pooled=macro_f1,
               note="Macro F1: the mean over classes of their F1, from the confusions of all episodes together."),
        Metric("entity_f1", "entity F1, %", pooled=f1,
               note="Entity F1: an entity is right if its words and its type are (CoNLL-2003); over all episodes."),
        Metric("rmse", "RMSE, rating points", "rating points", 1.0, 3, lower_is_better=True, bounds=(0.0, float("inf")),
               note="RMSE: root mean squared error of an episode; lower is better."),
        Metric("pearson", "Pearson r", "r", 1.0, 3, bounds=(-1.0, 1.0), beside=("spearman", "rmse"), pooled=pearson,
               note="Pearson r: of all queries of all episodes together; Spearman: the mean of the episodes'."),
        Metric("answer_f1", "answer F1, %", beside=("exact_match",),
               note="Answer F1, exact match: as SQuAD has them, means over questions; no answer, rightly: 1."),
        Metric("exact_match", "exact match, %"),
        Metric("spearman", "Spearman rho", "rho", 1.0, 3, bounds=(-1.0, 1.0)),
        Metric("bleu", "BLEU", beside=("chrf",), pooled=bleu, quick="next_token",
               note="BLEU and chrF: sacreBLEU's, cased, of the translations of all episodes together."),
        Metric("chrf", "chrF", beside=("bleu",), pooled=chrf, quick="next_token"),
        Metric("next_token", "next token right, given those before it, %"),
    )
}  # fmt: skip
