"""hydra/launcher=local, the default of `python train.py -m`: every run of a sweep in a process of its own.

Hydra imports this file whenever it starts, so that nothing heavy is imported before a sweep is launched.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from metalingua.study.pool import Pool


@dataclass
class LocalConf:
    """As metalingua.study.pool.Pool takes them."""

    _target_: str = "hydra_plugins.metalingua.local.Local"
    slots: int | None = None
    devices: list[int] = field(default_factory=list)
    minutes: float | None = None
    retries: int = 1


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalConf, provider="metalingua")


class Ended(JobReturn):
    """As Hydra's own, whose error is told already: raised without another line."""

    @property
    def return_value(self) -> Any:
        if isinstance(self._return_value, Exception):
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class Local(Launcher):
    """Runs that are done are not started again; one that dies takes no other with it."""

    def __init__(self, **pool: Any) -> None:
        self.pool = pool

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from metalingua.study.launch import NotAllDone, launch
        from metalingua.study.telling import telling

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        configs = [self._config(overrides, initial_job_idx + i) for i, overrides in enumerate(job_overrides)]
        tasks = [OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]) for config in configs]
        names = telling([filter_overrides(overrides) for overrides in job_overrides])
        given = [str(each) for each in self.config.hydra.overrides.hydra]
        kept = [each for each in given if not each.lstrip("+~").startswith(("hydra/launcher", "hydra.launcher",
                "hydra/sweeper", "hydra.sweeper", "hydra.mode"))]  # fmt: skip
        commands = [(sys.executable, *_script(), *overrides, *kept) for overrides in job_overrides]
        outcomes = launch(self._pool(), list(zip(names, commands, tasks, strict=True)))
        returns = []
        for overrides, config, outcome in zip(job_overrides, configs, outcomes, strict=True):
            done = outcome.state == "done"
            returns.append(Ended(
                list(overrides), config, config.hydra, str(outcome.job.run.path), config.hydra.job.name,
                JobStatus.COMPLETED if done else JobStatus.FAILED, outcome.score if done else NotAllDone(outcomes),
            ))  # fmt: skip
        return returns

    @property
    def slots(self) -> int:
        """Runs at once."""
        return self._pool().slots

    def _pool(self) -> "Pool":
        from metalingua.error import UserError

        try:
            return self.made()
        except ValueError as error:
            raise UserError(str(error)) from error

    def made(self) -> "Pool":
        from metalingua.study.pool import Pool

        return Pool(**self.pool)

    def _config(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config


def _script() -> list[str]:
    """What this process was started with, without its overrides and --multirun."""
    from hydra._internal.utils import get_args_parser

    args = get_args_parser().parse_known_args(sys.argv[1:])[0]
    flags = {"--config-path": args.config_path, "--config-name": args.config_name, "--config-dir": args.config_dir}
    return [sys.argv[0], *(f"{flag}={value}" for flag, value in flags.items() if value)]
