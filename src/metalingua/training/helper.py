"""python -m metalingua.training.helper: one process more for a meta-training (metalingua.training.processes).

Its standard input says what to do, and ends when the run does.
"""

import os
import signal
import sys
import threading

import yaml
from omegaconf import DictConfig, OmegaConf

from metalingua.result.identity import directory, plain
from metalingua.training.fit import Training
from metalingua.training.processes import READY, Place
from metalingua.training.progress import console, quiet
from metalingua.training.reading import read


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console.quiet = True
    quiet()
    lines = iter(sys.stdin.buffer.readline, b"...\n")
    task = yaml.safe_load(b"".join(lines))
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    cfg = OmegaConf.create(task["config"])
    assert isinstance(cfg, DictConfig)
    config = plain(cfg)
    place = Place(task["processes"], task["rank"], task["port"])
    training = Training(cfg, config, directory(config), read(cfg), place)
    os.write(sys.stdout.fileno(), READY)
    training.trainer.fit(training.module, training.data, ckpt_path=task["at"], weights_only=True)


def _end_with_the_run() -> None:
    sys.stdin.buffer.read()
    os._exit(1)  # wherever it waits


if __name__ == "__main__":
    main()
