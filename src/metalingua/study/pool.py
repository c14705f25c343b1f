"""Runs in processes of their own: a few at a time, each with a log, a share of the cores and a time limit."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol

from metalingua.error import UserError
from metalingua.limit import Above, AtLeast, limited
from metalingua.result.run import Busy, RunDirectory, unwritable

LOG = "run.log"  # in the run's folder; a later start writes on below the earlier ones
BEAT = 0.05  # seconds between two looks at the processes
ELSEWHERE = 1.0  # seconds between two looks at a run that another process has in hand
GRACE = 20.0  # seconds that a run has to write its status after SIGTERM
TAIL = 12  # lines of a log that are shown


class Stopped(UserError):
    """The person stopped the runs; they go on with the same command."""

    def __init__(self, number: int, running: int):
        super().__init__(
            f"stopped by {signal.Signals(number).name}, with {running} running; the same command goes on with them"
        )
        self.exit_code = 128 + number


@dataclass(frozen=True)
class Job:
    """A run to be done: what a person calls it, its command, where it lives."""

    name: str
    words: tuple[str, ...]
    run: RunDirectory


@dataclass
class Outcome:
    """How a job ended. `state` is done, refused (nothing was begun), failed, killed or timed out."""

    job: Job
    state: str
    seconds: float = 0.0
    starts: int = 0
    reason: str = ""
    tail: list[str] = field(default_factory=list)  # the last lines of its log, of one that is not done; if refused, why
    score: float | None = None  # on meta-validation, of the run's own learner, of one that is done


class Process(Protocol):
    """A job that was started, here or elsewhere; as subprocess.Popen has it."""

    returncode: int | None  # a negative one is the signal that ended it

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        ...

    def signal(self, number: int) -> None:
        """To it and all that it started; nothing happens where it is over."""
        ...


class _Here(subprocess.Popen[bytes]):
    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@dataclass
class _Running:
    job: Job
    process: Process
    slot: int
    since: float
    starts: int
    log: Path
    offset: int  # where this start's part of the log begins
    done_before: bool
    late: bool = False


class Pool:
    """Starts each job as a fresh process, at most `slots` at once; whatever ends one of them ends no other.

    A run that another process has in hand is left to it, and looked at again until it is done there or let go.
    """

    @limited("hydra.launcher")
    def __init__(
        self,
        slots: Annotated[int, AtLeast(1)] | None = None,
        devices: Sequence[int] = (),
        minutes: Annotated[float, Above(0)] | None = None,
        retries: Annotated[int, AtLeast(0)] = 1,
    ):
        """
        slots    runs at once; None: one for every two cores. Cores are shared out between them
        devices  GPUs, given to the slots in turn as CUDA_VISIBLE_DEVICES; none given: the environment is left alone
        minutes  a run that takes longer is stopped; the next launch goes on with it. None: no limit
        retries  how often a run that was killed (SIGKILL, out of memory, a crash of a library) is started again: it
                 goes on from its last checkpoint. One that raised an error is not: it would raise it again
        """
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.slots = slots or max(1, (len(cores) or os.cpu_count() or 1) // 2)
        share = max(1, len(cores) // self.slots)
        self._cores = [cores[share * i % len(cores) :][:share] for i in range(self.slots)] if cores else []
        self.devices, self.minutes, self.retries = list(devices), minutes, retries

    def run(
        self, jobs: Sequence[Job], tell: Callable[[str, Outcome], None] = lambda event, outcome: None
    ) -> list[Outcome]:
        """Do `jobs`, in their order as far as slots allow; their outcomes, in the same order. Raises Stopped on SIGINT
        and SIGTERM, after every run has had time to write its status.

        tell  called with "started", "ended" or "elsewhere" and the outcome so far
        """
        waiting = [(job, 0, 0.0) for job in jobs]  # job, starts so far, not before (monotonic seconds)
        running: list[_Running] = []
        found: dict[int, Outcome] = {}
        told: set[int] = set()
        with _signals() as caught:
            try:
                while waiting or running:
                    now = time.monotonic()
                    for job, starts, after in list(waiting):
                        free = set(range(self.slots)) - {each.slot for each in running}
                        if not free or caught:
                            break
                        if now < after:
                            continue
                        waiting.remove((job, starts, after))
                        if job.run.busy:
                            if id(job) not in told:
                                told.add(id(job))
                                tell("elsewhere", Outcome(job, "elsewhere"))
                            waiting.append((job, starts, now + ELSEWHERE))
                        elif id(job) in told and job.run.done:
                            found[id(job)] = Outcome(job, "done", starts=starts, reason="by another process")
                            tell("ended", found[id(job)])
                        else:
                            running.append(self._start(job, min(free), starts + 1))
                            tell("started", Outcome(job, "running", starts=starts + 1))
                    if caught:
                        raise Stopped(caught[0], len(running))
                    time.sleep(BEAT)
                    for each in list(running):
                        self._limit(each)
                        if each.process.poll() is None:
                            continue
                        running.remove(each)
                        outcome = _outcome(each)
                        if outcome.state == "elsewhere":  # another process was a moment faster
                            waiting.append((each.job, each.starts - 1, time.monotonic() + ELSEWHERE))
                            told.add(id(each.job))
                        elif outcome.state == "killed" and each.starts <= self.retries:
                            waiting.insert(0, (each.job, each.starts, 0.0))
                        else:
                            found[id(each.job)] = outcome
                            tell("ended", outcome)
            finally:
                _end(running)
        return [found[id(job)] for job in jobs]

    def _start(self, job: Job, slot: int, starts: int) -> _Running:
        path = job.run.path / LOG
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            log = path.open("ab")
        except OSError as error:
            raise unwritable(path, error) from error
        with log:
            offset, since, before = log.tell(), time.monotonic(), job.run.done
            process = self._process(job, slot, log)
        return _Running(job, process, slot, since, starts, path, offset, before)

    def _process(self, job: Job, slot: int, log: BinaryIO) -> Process:
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.devices:
            env["CUDA_VISIBLE_DEVICES"] = str(self.devices[slot % len(self.devices)])
        process = _Here(job.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)
        if self._cores:
            with contextlib.suppress(OSError):  # it is over already
                os.sched_setaffinity(process.pid, self._cores[slot])
        with contextlib.suppress(OSError):  # out of memory: a run is to go, not what looks after all of them (Linux)
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("500")
        return process

    def _limit(self, each: _Running) -> None:
        over = time.monotonic() - each.since - 60 * self.minutes if self.minutes else 0.0
        if over > 0:
            each.late = True
            each.process.signal(signal.SIGTERM if over < GRACE else signal.SIGKILL)


def _outcome(each: _Running) -> Outcome:
    """What became of it. An exit code alone is never trusted: `done` in status.json is."""
    code, run = each.process.returncode or 0, each.job.run
    found = Outcome(each.job, "done", time.monotonic() - each.since, each.starts)
    if run.done and (code == 0 or not each.done_before):
        return found
    if code == Busy.exit_code:
        found.state = "elsewhere"
    elif each.late:
        found.state, found.reason = "timed out", f"stopped after {found.seconds / 60:.1f} minutes"
    elif code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        found.state, found.reason = "killed", name + (": out of memory?" if name == "SIGKILL" else "")
    else:
        found.state, found.reason = ("refused" if code == 2 else "failed"), f"exit code {code}"
    with contextlib.suppress(OSError), each.log.open("rb") as log:
        log.seek(each.offset)
        text = log.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        found.tail = last_words(text)[:TAIL] if found.state == "refused" else lines[-TAIL:]
    return found


def last_words(log: str) -> list[str]:
    """The lines below the last blank one: of a run that is refused, why."""
    return log.rstrip().rpartition("\n\n")[2].splitlines()


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Numbers of SIGTERM and SIGINT that came; outside the main thread, where none can be caught, always empty."""
    caught: list[int] = []

    def note(number: int, frame: Any) -> None:
        caught.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(running: Sequence[_Running]) -> None:
    for each in running:
        each.process.signal(signal.SIGTERM)
    last = time.monotonic() + GRACE
    for each in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.process.wait(max(0.0, last - time.monotonic()))
        each.process.signal(signal.SIGKILL)
        each.process.wait()
