"""What a person sees of a sweep: a line when a run starts and ends, and at the end all that went wrong."""

import sys
from collections.abc import Sequence

from metalingua.study.pool import LOG, Outcome


def telling(runs: Sequence[Sequence[str]]) -> list[str]:
    """What tells each of `runs` from the others: its overrides less those that all have; the main job of one alone."""
    common = set(runs[0]).intersection(*runs) if len(runs) > 1 else set()
    return [" ".join(word for word in run if word not in common) or "the main job" for run in runs]


class Telling:
    """Lines for the terminal: `[3/12] done in 12 s  seed=0`."""

    def __init__(self, total: int, done: int = 0):
        self.total, self.ended = total, done

    def __call__(self, event: str, outcome: Outcome) -> None:
        job, again = outcome.job, f", start {outcome.starts}" if outcome.starts > 1 else ""
        if event == "started":
            line = f"started{again}"
        elif event == "elsewhere":
            line = "is in hand of another process; waiting for it"
        else:
            self.ended += 1
            if outcome.state == "refused" and outcome.tail:
                print(f"[{self.ended}/{self.total}] refused: {job.name}: {brief(outcome.tail)}", flush=True)
                return
            took = f" in {duration(outcome.seconds)}" if outcome.seconds else ""
            line = f"{outcome.state}{took}{again}" + (f" ({outcome.reason})" if outcome.reason else "")
        print(f"[{self.ended}/{self.total}] {line}: {job.name}", flush=True)


def brief(why: Sequence[str]) -> str:
    """One line: the first of `why`, and where that only opens a list, what stands first there."""
    first, *more = why
    return f"{first} {more[0].strip().removeprefix('- ')}" if first.endswith(":") and more else first


def duration(seconds: float) -> str:
    """5 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def failures(outcomes: Sequence[Outcome]) -> str:
    """Every run that is not done: why, its log, the log's last lines; empty if all are."""
    parts = []
    for outcome in outcomes:
        if outcome.state != "done":
            log = f"; all of it: {outcome.job.run.path / LOG}" if outcome.starts else ""
            lines = [f"  - {outcome.job.name}", f"    {outcome.state} ({outcome.reason}){log}"]
            parts.append("\n".join([*lines, *(f"      | {line}" for line in outcome.tail)]))
    if not parts:
        return ""
    count = f"{len(parts)} of {len(outcomes)} runs did not finish" if len(parts) > 1 else "A run did not finish"
    return "\n".join([f"{count}; the same command goes on with what is not done:", *parts])


def report(outcomes: Sequence[Outcome]) -> None:
    """Print `failures`, on stderr."""
    if said := failures(outcomes):
        print(f"\n{said}", file=sys.stderr, flush=True)
