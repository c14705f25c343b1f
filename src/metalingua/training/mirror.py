"""Weights & Biases mirrors what the run directory holds: live when online, from the finished files when offline."""

import contextlib
import logging
import shutil
import sys
from typing import Annotated, Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger

from metalingua.limit import OneOf, limited
from metalingua.result.printed import frame
from metalingua.result.run import RunDirectory, read_run
from metalingua.result.table import tables
from metalingua.result.wandb import opened, wanted
from metalingua.training.metrics import read_metrics

log = logging.getLogger(__name__)


class Wandb:
    """What conf/logger builds. One W&B run a run, its id the hash of the config."""

    @limited("logger")
    def __init__(self, mode: Annotated[str, OneOf("auto", "online", "offline", "disabled")], project: str,
                 entity: str | None = None, group: str | None = None, gradient_norms: bool = False):  # fmt: skip
        """
        group           what W&B puts the run with: a study gives its name; None: the run's own name
        mode            "auto": what WANDB_MODE says, else online where W&B has a key, else offline
        gradient_norms  log the norms of the outer gradient and of the support gradient before and after adapting
        """
        self.mode = mode if mode != "auto" else wanted()[0]
        self.project, self.entity, self.group, self.gradient_norms = project, entity, group, gradient_norms

    def live(self, run: RunDirectory) -> list[Logger]:
        """The Lightning loggers that follow a training run: W&B's if online."""
        if self.mode != "online":
            return []
        try:
            return [WandbLogger(**self._identity(run), save_dir=run.path, resume="allow")]
        except Exception as error:  # W&B raises many kinds; none of them is worth the run
            log.warning("W&B cannot be reached (%s); the run goes on, its files hold everything", error)
            return []

    def failed(self, run: RunDirectory, config: dict[str, Any]) -> None:
        """Tell W&B that the run did not finish: live where it follows; offline, as one W&B folder with the history so
        far, which the finished run replaces. Of a killed run an online W&B notices by itself."""
        with contextlib.suppress(Exception):  # as for the rest of W&B: not worth hiding why the run failed
            if self.mode == "offline":
                with self._opened(run, config) as mirror:
                    _history(run, mirror)
                    mirror.summary["status"] = run.status()
                    mirror.finish(exit_code=1)
            elif (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
                wandb.finish(exit_code=1)

    def finish(self, run: RunDirectory, config: dict[str, Any]) -> None:
        """Send the finished run: config, numbers, tables, figures. Offline, its history too, as one W&B folder."""
        if self.mode == "disabled":
            return
        try:
            import wandb

            with self._opened(run, config) as mirror:
                if self.mode == "offline":
                    _history(run, mirror)
                found = read_run(run.path)
                for target, rows in frame(tables([found])).groupby("target", sort=False):
                    mirror.log({f"table/{target}": wandb.Table(dataframe=rows)})
                for figure in sorted(run.figures.glob("*.png")):
                    mirror.log({f"figure/{figure.stem}": wandb.Image(str(figure))})
                mirror.summary.update({name: value for name, value in found[0].items() if name != "curves"})
        except Exception as error:
            log.warning("W&B took no copy of the run (%s); %s holds everything", error, run.path)

    def _opened(self, run: RunDirectory, config: dict[str, Any]) -> Any:
        """W&B's own run of `run`; offline in a new folder, in place of that of an earlier start."""
        if self.mode == "offline":
            shutil.rmtree(run.path / "wandb", ignore_errors=True)
        return opened(self.mode, run.path, config=config, **self._identity(run))

    def _identity(self, run: RunDirectory) -> dict[str, Any]:
        return {
            "id": run.path.name,
            "name": run.path.name,
            "project": self.project,
            "entity": self.entity,
            "group": self.group or run.path.parent.name,
        }


def _history(run: RunDirectory, mirror: Any) -> None:
    for line in read_metrics(run.metrics):
        mirror.log({key: value for key, value in line.items() if key != "step"}, step=line["step"])
