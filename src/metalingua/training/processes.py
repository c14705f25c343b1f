"""trainer=ddp: meta-training shared by a few processes of this machine.

The first one is the run: it alone reads and writes its directory, validates, judges and tells. The others, its helpers,
do nothing but their share of every batch, and end with it: it starts them for a training, and holds the pipe that they
watch.
"""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric.plugins import ClusterEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.strategies import DDPStrategy

from metalingua.error import UserError

HERE = "127.0.0.1"
READY = b"ready\n"  # a helper's one word: it has read its data, and waits for the others
LINES = 8  # of what a helper said, where it ended early


class HelperEnded(UserError):
    """One of the processes of a run ended before its training did."""


def processes(cfg: DictConfig) -> int:
    return cfg.trainer.get("devices", 1)


class Place(ClusterEnvironment):
    """Which of the processes this one is: 0 is the run, others its helpers. `port` is None for the run, which finds
    a free one."""

    creates_processes_externally = True  # by `helped`: Lightning would start train.py again, whole
    main_address = HERE

    def __init__(self, processes: int, rank: int = 0, port: int | None = None):
        self._processes, self._rank, self._port = processes, rank, port

    @functools.cached_property
    def main_port(self) -> int:
        if self._port is not None:
            return self._port
        with socket.socket() as free:
            free.bind((HERE, 0))
            return free.getsockname()[1]

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._processes

    def global_rank(self) -> int:
        return self._rank

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0

    def set_world_size(self, size: int) -> None:
        """It is said once, by the constructor."""

    def set_global_rank(self, rank: int) -> None:
        """It is said once, by the constructor."""


class Shared(DDPStrategy):
    """Lightning's, for processes that meet at the gradients of every step and nowhere else."""

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """None: the run saves and validates while its helpers wait for it at the next step's gradients."""

    def setup_environment(self) -> None:
        self._stop = signal.getsignal(signal.SIGTERM)
        super().setup_environment()

    def on_train_start(self) -> None:
        """SIGTERM as it was: Lightning's own handler talks to the other processes, which listen at no such moment."""
        signal.signal(signal.SIGTERM, self._stop)


@contextlib.contextmanager
def helped(cfg: DictConfig, place: Place, at: Path | None) -> Iterator[None]:
    """Within it the helpers of the run of `cfg` train beside this process, from the checkpoint `at`, or anew.

    Raises HelperEnded where one ends early. None is left when it ends, however it does.
    """
    others = range(1, place.world_size())
    config = OmegaConf.to_yaml(cfg)
    with contextlib.ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in others]
        helpers = [_start(log) for log in said]
        stack.callback(_end, helpers)
        for rank, helper in zip(others, helpers, strict=True):
            task = {"rank": rank, "processes": place.world_size(), "port": place.main_port,
                    "at": at and str(at), "config": config}  # fmt: skip
            assert helper.stdin
            with contextlib.suppress(BrokenPipeError):  # what it has to say comes below
                helper.stdin.write(yaml.safe_dump(task).encode() + b"...\n")
                helper.stdin.flush()
        for helper, log in zip(helpers, said, strict=True):
            assert helper.stdout
            if helper.stdout.readline() != READY:
                helper.wait()
                raise HelperEnded(_why(helper, log))
        try:
            yield
            for helper in helpers:
                helper.wait()  # its last sum of gradients may be under way
        except RuntimeError as error:  # torch's, of a connection that is gone
            for helper, log in zip(helpers, said, strict=True):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if helper.wait(1):
                        raise HelperEnded(_why(helper, log)) from error
            raise
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def _start(log: Any) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(filter(None, sys.path))  # as train.py has it
    return subprocess.Popen([sys.executable, "-m", "metalingua.training.helper"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=log, env={**os.environ, "PYTHONPATH": paths},
                            start_new_session=True)  # fmt: skip  # Ctrl-C is for the run alone


def _end(helpers: list[subprocess.Popen[bytes]]) -> None:
    for helper in helpers:
        helper.kill()
        helper.wait()
        for pipe in (helper.stdin, helper.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def _why(helper: subprocess.Popen[bytes], log: Any) -> str:
    log.seek(0)
    tail = log.read().decode(errors="replace").strip().splitlines()[-LINES:]
    code = helper.returncode
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    way_out = "the same command goes on from the last checkpoint, with trainer=default in one process"
    return "\n".join([f"a helper of trainer=ddp ended early ({how}); {way_out}", *(f"  | {line}" for line in tail)])
