"""hydra/sweeper=optuna: `python train.py -m` asks Optuna for the runs; conf/hydra/sweeper/optuna.yaml has its settings.

Hydra imports this file whenever it starts, so that nothing heavy is imported before a search begins.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

GROUP = "search"  # of conf/: says what is searched, and nothing else of a run


class Optuna(Sweeper):
    """Any launcher does the runs. One that fails is a failed trial; the search goes on."""

    def __init__(
        self,
        trials: int,
        seed: int,
        at_once: int | None,
        sampler: DictConfig,
        params: DictConfig,
        trial: Sequence[str],
    ) -> None:
        self.trials, self.seed, self.at_once, self.trial = trials, seed, at_once, tuple(trial)
        self.sampler: dict[str, Any] = OmegaConf.to_container(sampler, resolve=True)  # type: ignore[assignment]
        self.params: dict[str, Any] = OmegaConf.to_container(params, resolve=True)  # type: ignore[assignment]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.given, self.loader = config, hydra_context.config_loader
        self.engine = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from metalingua.result.identity import plain, reading_as_the_start
        from metalingua.study import search as searching
        from metalingua.study.trials import best, go

        searching.whole("hydra.sweeper.trials", self.trials, 1)
        searching.whole("hydra.sweeper.seed", self.seed, 0)
        if self.at_once is not None:
            searching.whole("hydra.sweeper.at_once", self.at_once, 1)
        swept = [f"{key}={'null' if value is None else value}" for key, value in self.params.items()]
        groups = [word for word in arguments if word.partition("=")[0] == GROUP]
        base, space, distributions = searching.split([*swept, *(word for word in arguments if word not in groups)])
        first = searching.chosen({key: searching.ends(each)[0] for key, each in distributions.items()})
        trial = (*groups, *self.trial)
        config = plain(reading_as_the_start(self._config(["hydra/sweeper=optuna", *self.trial, *base, *first])))
        search = searching.Search(
            config["name"], base, trial, space, distributions, self.sampler, self.seed, self.trials, config
        )  # fmt: skip
        if groups and search.key != replace(search, config=plain(self._config([*trial, *base, *first]))).key:
            raise searching.SearchError(
                f"{groups[0]} sets more than hydra.sweeper; put that in an experiment, so that the winner has it too"
            )
        folder = Path(config["paths"]["outputs"]) / "searches"
        searching.freeze(search, folder / f"{search.key}.json")
        at_once: int = self.at_once or getattr(self.engine, "slots", 1) or 1
        started = 0

        def evaluate(runs: Sequence[searching.Words]) -> list[float | None]:
            nonlocal started
            returns = self.engine.launch(runs, initial_job_idx=started)
            started += len(runs)
            return [_score(each) for each in returns]

        go(search, folder, at_once, evaluate)
        print("\n".join(best(search, folder)), flush=True)

    def _config(self, words: Sequence[str]) -> DictConfig:
        config = self.loader.load_sweep_config(self.given, list(words))
        return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _score(job: JobReturn) -> float | None:
    value: Any = job.return_value if job.status == JobStatus.COMPLETED else None
    return value if isinstance(value, float) else None
