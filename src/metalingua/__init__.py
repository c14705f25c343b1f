"""Meta-learning for language: everything is a mapping. Importing this imports no torch."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metalingua.estimator.few_shot import FewShot


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # most of the time that this import would take

    try:
        return version("metalingua")
    except PackageNotFoundError:  # a source tree on PYTHONPATH, not installed
        return "0+source"


def load(path: "str | os.PathLike[str]", *, learner: str | None = None, kind: str | None = None) -> "FewShot":
    """What a done run learned, as a scikit-learn estimator: `load(run).fit(texts, labels).predict(texts)`; of a run on
    tagged words, `load(run).fit(sentences, tags).predict(sentences)`, lists of words and of their tags.

    path     the folder of a done run, outputs/NAME/HASH, or a file that the estimator's `save` wrote
    learner  a learner of the run's table, in place of the run's own
    kind     "classification", "regression" or "tagging"; None: as meta-training had it

    Raises UserError. The first call imports torch, which takes seconds.
    """
    from metalingua.estimator.loading import load as load_estimator

    return load_estimator(path, learner=learner, kind=kind)
