"""metrics.jsonl: what was measured in training, as lines of JSON. A resumed run goes on where it was cut."""

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from metalingua.result.run import unwritable, write_atomically


class MetricsFile(pl.Callback):
    """Writes train/* and grad/* every `every` steps, val/* after each validation.

    `step` counts the optimiser steps done. It stands before Checkpoint in the list of callbacks: then a line of a step
    is there whenever its checkpoint is.
    """

    def __init__(self, path: Path, every: int):
        self.path, self.every = path, every
        self._seen = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Drop what a cut run wrote after its last checkpoint: it is written again."""
        self._seen = trainer.global_step
        kept = [line for line in read_metrics(self.path) if line["step"] <= self._seen] if self.path.exists() else []
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        step, before = trainer.global_step, self._seen
        self._seen = step
        if step != before and step % self.every == 0:
            self._write(trainer, "train/", "grad/")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._write(trainer, "val/")

    def _write(self, trainer: pl.Trainer, *kinds: str) -> None:
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(kinds)}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": trainer.global_step, **numbers}) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, a last one that a kill cut short left out; no lines where nothing was trained."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]
