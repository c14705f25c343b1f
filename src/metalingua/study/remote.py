"""Runs past this machine: the pool's loop here, the processes where submitit or Ray put them.

All machines see the same files, under the same paths: a run's folder, lock and status are where they always are.
"""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from metalingua.error import UserError
from metalingua.limit import AtLeast, limited
from metalingua.study.pool import GRACE, Job, Outcome, Pool, Process

LOOK = 0.2  # seconds between two looks at a job that is waited for


def do(words: Sequence[str], log: str, folder: str) -> int:
    """Run `words` in `folder`, its output below what is in `log`; its exit code. Told to stop, it stops them, too."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with open(log, "ab") as out:
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, env=env)
    try:
        while (code := process.poll()) is None:
            time.sleep(LOOK)  # not one long wait, which Ray's way of interrupting does not end
        return code
    except KeyboardInterrupt:
        process.terminate()
        try:
            return process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Far(ABC):
    """A job that an engine has in hand, as the pool looks at a process."""

    def __init__(self, log: str):
        self.log = log
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self.over():
            try:
                self.returncode = self.result()
            except Exception as error:  # of the engine, or of a worker that cannot start a run
                self.returncode = -signal.SIGKILL if self.died(error) else 1
                with open(self.log, "a") as log:
                    log.write(f"{str(error).strip()}\n")
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        last = time.monotonic() + (timeout or 0.0)
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() > last:
                raise subprocess.TimeoutExpired("a job", timeout)
            time.sleep(LOOK)
        return code

    def signal(self, number: int) -> None:
        if self.poll() is None:
            self.cancel(number == signal.SIGKILL)
            if number == signal.SIGKILL:  # the engine sees to it: a queue that does not answer is not waited for
                self.returncode = -signal.SIGKILL

    @abstractmethod
    def over(self) -> bool: ...

    @abstractmethod
    def result(self) -> int:
        """What `do` returned. Raises the engine's error where it did not."""

    @abstractmethod
    def died(self, error: Exception) -> bool:
        """Whether the worker was killed, and the run may be started again."""

    @abstractmethod
    def cancel(self, at_once: bool) -> None: ...


class _Submitted(Far):
    def __init__(self, log: str, job: Any):
        super().__init__(log)
        self.job = job

    def over(self) -> bool:
        return bool(self.job.done())

    def result(self) -> int:
        return int(self.job.result())

    def died(self, error: Exception) -> bool:
        from submitit.core.utils import FailedJobError

        return not isinstance(error, FailedJobError)

    def cancel(self, at_once: bool) -> None:
        self.job.cancel(check=False)


class _InRay(Far):
    def __init__(self, log: str, job: Any):
        super().__init__(log)
        self.job = job

    def over(self) -> bool:
        import ray

        return bool(ray.wait([self.job], timeout=0)[0])

    def result(self) -> int:
        import ray

        return int(ray.get(self.job))

    def died(self, error: Exception) -> bool:
        from ray.exceptions import RayTaskError

        return not isinstance(error, RayTaskError)

    def cancel(self, at_once: bool) -> None:
        import ray

        ray.cancel(self.job, force=at_once)


class Submitit(Pool):
    """Each run a job of submitit: processes of this machine, or jobs of Slurm."""

    @limited("hydra.launcher")
    def __init__(
        self,
        cluster: str,
        folder: str,
        slots: Annotated[int, AtLeast(1)],
        minutes: Annotated[int, AtLeast(1)],
        retries: Annotated[int, AtLeast(0)] = 1,
        options: Mapping[str, Any] | None = None,
    ):
        """
        cluster  local or slurm
        folder   where submitit keeps its scripts, pickles and logs
        slots    jobs in the queue at once: submitit itself would start all there are
        minutes  what a job asks the queue for; one that takes longer is stopped, and goes on as one more of `retries`
        options  of submitit's AutoExecutor.update_parameters: cpus_per_task, mem_gb, slurm_partition
        """
        super().__init__(slots=slots, retries=retries)
        self.cluster, self.folder, self.asked = cluster, folder, {**(options or {}), "timeout_min": minutes}

    def run(
        self, jobs: Sequence[Job], tell: Callable[[str, Outcome], None] = lambda event, outcome: None
    ) -> list[Outcome]:
        submitit = _needed("submitit")
        try:
            self.executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
            self.executor.update_parameters(**self.asked)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            NameError,
            AssertionError,
        ) as error:  # no Slurm here, or no such option
            raise UserError(f"hydra.launcher, of submitit's {self.cluster}: {error}") from error
        return super().run(jobs, tell)

    def _process(self, job: Job, slot: int, log: BinaryIO) -> Process:
        at = str(Path(log.name).resolve())
        return _Submitted(at, self.executor.submit(do, job.words, at, os.getcwd()))


class Ray(Pool):
    """Each run a task of Ray: on a cluster, or on this machine."""

    @limited("hydra.launcher")
    def __init__(
        self,
        slots: Annotated[int, AtLeast(1)],
        retries: Annotated[int, AtLeast(0)] = 1,
        init: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        """
        slots    runs at once
        init     of ray.init: address=auto joins a cluster; without an address there is one here, until the sweep ends
        options  of ray.remote: num_cpus, num_gpus of a run
        """
        super().__init__(slots=slots, retries=retries)
        self.init, self.asked = dict(init or {}), dict(options or {})

    def run(
        self, jobs: Sequence[Job], tell: Callable[[str, Outcome], None] = lambda event, outcome: None
    ) -> list[Outcome]:
        if not jobs:
            return []
        ray = _needed("ray")
        try:
            if not ray.is_initialized():
                ray.init(**self.init)
            # the pool looks after retries: it knows of checkpoints
            self.task = ray.remote(**self.asked, max_retries=0)(do)
        except (ConnectionError, RuntimeError, ValueError, TypeError) as error:
            raise UserError(f"hydra.launcher.init is {self.init}, options {self.asked}: {error}") from error
        return super().run(jobs, tell)

    def _process(self, job: Job, slot: int, log: BinaryIO) -> Process:
        at = str(Path(log.name).resolve())
        return _InRay(at, self.task.remote(job.words, at, os.getcwd()))


def _needed(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"this launcher needs {name}: {sys.executable} -m pip install -r requirements-extras.txt ({error})"
        ) from error
