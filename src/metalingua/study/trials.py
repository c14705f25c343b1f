"""The trials of a search: Optuna proposes, ordinary runs answer with their meta-validation score, nothing else is read.

Trial n is a pure function of the search's seed, n and the trials before its batch; so a search that was cut goes on as
if it had not been. What Optuna knows lies in one SQLite file, written by the one process that holds its lock: a kill
leaves whole transactions, and a trial that was asked for is taken up again.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState, create_trial

from metalingua.result.identity import directory, plain, reading_as_the_start
from metalingua.result.run import Busy, unwritable
from metalingua.study.search import Search, SearchError, Words, chosen, sampler_of

if TYPE_CHECKING:
    from metalingua.study.compose import Composer
    from metalingua.study.pool import Pool

SHOWN = 5  # trials, of the best
PATIENCE = 5  # runs in a row that may fail before a search stops, so that an error of the config costs no more

Evaluate = Callable[[Sequence[Words]], Sequence[float | None]]  # runs -> their scores; None of one that failed


def go(search: Search, folder: Path, at_once: int, evaluate: Evaluate) -> None:
    """Bring the search to its total number of trials; what is told is told, what was asked for is taken up again.

    folder    for the search's own file
    at_once   trials of a batch, all asked for before any of them is answered
    Raises Busy where another process searches, SearchError where PATIENCE runs fail with none done between them.
    """
    with _held(folder, search.key):
        study, failed = _opened(search, folder), 0
        while True:
            trials = _trials(study)
            running = [each for each in trials if each.state == TrialState.RUNNING]
            # a batch ends at a multiple of `at_once`, whether or not it was cut
            while len(trials) < search.trials and (len(trials) % at_once or not running):
                _ask(search, study, trials)
                trials = _trials(study)
                running.append(trials[-1])
            if not running:
                return
            known = {search.words(each.params): each.value for each in trials if each.state.is_finished()}
            new = list(dict.fromkeys(words for each in running if (words := search.words(each.params)) not in known))
            found = dict(zip(new, evaluate(new), strict=True)) if new else {}
            for each in running:
                score = {**known, **found}[search.words(each.params)]
                if _is_score(score):
                    study.tell(each.number, score)
                else:
                    study.tell(each.number, state=TrialState.FAIL)
            failed = 0 if any(map(_is_score, found.values())) else failed + len(new)
            if failed >= PATIENCE:
                raise SearchError(
                    f"the last {failed} runs all failed, and so will the rest: mend what is wrong; the same command "
                    "goes on with the next trial"
                )


def _is_score(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _ask(search: Search, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """One more trial, written whole or not at all: it is drawn in memory first."""
    seed = int(np.random.SeedSequence([search.seed, len(trials)]).generate_state(1)[0])
    memory = optuna.create_study(direction="maximize", sampler=sampler_of(search, seed))
    memory.add_trials(trials)
    drawn = memory.ask(dict(search.distributions))
    study.add_trial(
        create_trial(state=TrialState.RUNNING, params=drawn.params, distributions=dict(search.distributions))
    )


def _trials(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


@contextlib.contextmanager
def _held(folder: Path, key: str) -> Iterator[None]:
    """The search for this process alone; the system frees it of one that dies, however it dies."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f".{key}.lock", timeout=0)
        held.acquire()
    except Timeout:
        raise Busy(
            f"another process is at work on this search ({folder / key}.db); wait until it ends, or stop it"
        ) from None
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise _broken(folder, key, error) from error
    finally:
        held.release()


def _opened(search: Search, folder: Path) -> optuna.Study:
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = folder / f"{search.key}.db"
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
        return optuna.create_study(
            storage=storage, study_name=search.name, direction="maximize", load_if_exists=True,
        )  # fmt: skip
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _broken(folder, search.key, error) from error


def _broken(folder: Path, key: str, error: Exception) -> SearchError:
    reason = str(error.__cause__ or error).partition("\n")[0]
    return SearchError(
        f"{folder / key}.db cannot be read or written ({reason}); if it is damaged, delete it: no run is lost, the "
        "same command finds them done already"
    )


def best(search: Search, folder: Path, most: int = SHOWN) -> list[str]:
    """What a person sees of it: how far it is, its best trials, and how to judge the winner on meta-test."""
    if not (folder / f"{search.key}.db").exists():
        return [f"0 of {search.trials} trials"]
    trials = _trials(_opened(search, folder))
    done = [each for each in trials if each.state == TrialState.COMPLETE]
    failed, left = (sum(each.state == state for each in trials) for state in (TrialState.FAIL, TrialState.RUNNING))
    lines = [f"{len(done) + failed} of {search.trials} trials" + f", {failed} failed" * bool(failed)
             + f", {left} in hand" * bool(left) + (", by meta-validation score:" if done else "")]  # fmt: skip
    distinct = {search.words(each.params): each for each in sorted(done, key=lambda each: (each.value, -each.number))}
    order = list(distinct.values())[::-1]
    lines += [f"  {each.value:.4f}  {' '.join(chosen(each.params))}  (trial {each.number})" for each in order[:most]]
    if order:
        lines.append(f"the winner on meta-test: {search.winner(order[0].params)}")
    return lines


def in_pool(search: Search, compose: "Composer", pool: "Pool", train: Path, outputs: Path | None = None) -> Evaluate:
    """Runs as processes of this machine; what is done by this commit is not done again."""
    from metalingua.study.launch import grouped, launch
    from metalingua.study.plan import Planned

    beside = [*grouped(search.config, search.name), *([f"paths.outputs={outputs}"] if outputs else [])]

    def evaluate(runs: Sequence[Words]) -> list[float | None]:
        given = []
        for words in runs:
            cfg = compose([*words, *beside])
            config = plain(reading_as_the_start(cfg))
            again = Planned("", words, config, directory(config), None).state == "stale"
            command = (sys.executable, str(train), *words, *beside, *(["rerun=true"] if again else []))
            name = " ".join(words[len(search.trial) + len(search.base) :])
            given.append((name, command, OmegaConf.create({**config, "rerun": again})))
        return [each.score if each.state == "done" else None for each in launch(pool, given)]

    return evaluate
