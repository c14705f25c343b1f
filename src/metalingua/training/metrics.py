"""metrics.jsonl: every number that was logged in training, one line a step. A resumed run goes on where it was cut."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger

from metalingua.result.run import write_atomically


class MetricsFile(Logger):
    """Lightning's logger onto one file of JSON lines."""

    def __init__(self, path: Path, resumed_at: int):
        """Lines of `path` from step `resumed_at` on are dropped: the resumed run writes them again."""
        super().__init__()
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] < resumed_at] if path.exists() else []
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    name = "metrics"
    version = ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """config.yaml has them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        numbers = {name: value for name, value in metrics.items() if name != "epoch"}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line that a kill cut short is left out."""
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]
