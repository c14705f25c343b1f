"""What a sweep survives: processes killed at random moments, and the report of it, docs/reliability.md.

    python tests/study/torture.py        # `make reliability`: 12 runs, 50 kills, some minutes

The sweep is `python train.py -m`, each run a process of its own. A disk that takes 40 ms to sync makes the moments
inside a write long enough to hit. A kill counts only if its process was alive; it was inside a write if it left a part
of one.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny  # noqa: E402

from metalingua.result.printed import frame  # noqa: E402
from metalingua.result.run import read_run  # noqa: E402
from metalingua.result.table import tables  # noqa: E402

SLOW_DISK = "import os, time\nsync = os.fsync\nos.fsync = lambda handle: (time.sleep(0.04), sync(handle))[1]\n"
GLANCE = 0.002  # seconds between two looks for a part of a file; SLOW_DISK makes each last twenty times as long
MEASURED = ["adapt_milliseconds", "peak_memory_mib", "training_seconds", "reached_seconds", "run_seconds"]
GIVEN = ["experiment=tiny", "compare=null", "reference=[]"]


@dataclass
class Found:
    """What happened: kills by who was hit, launches, and what came out."""

    runs: int
    kills: Counter = field(default_factory=Counter)
    inside: int = 0
    launches: int = 0
    resumed: int = 0
    seconds: float = 0.0
    lost: list = field(default_factory=list)
    equal: bool = False


def sweep(folder, outputs, runs, slots=2, **env):
    """The sweep, started as a process."""
    words = [sys.executable, "train.py", "-m", *GIVEN, f"corpus.cache={folder}/cache", f"paths.outputs={outputs}",
             f"seed=range(0,{runs})", f"hydra.launcher.slots={slots}"]  # fmt: skip
    given = {**os.environ, "PYTHONPATH": os.pathsep.join([env.pop("first", ""), str(folder / "src")]),
             "WANDB_MODE": "disabled", **env}  # fmt: skip
    with open(folder / "launcher.log", "ab") as log:
        return subprocess.Popen(words, cwd=folder, env=given, stdout=log, stderr=log)


def alive(pid):
    """Whether that process runs: one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def workers(outputs):
    """pid -> the run that it has in hand, None before it has one, of the live runs of a sweep."""
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError):
                words = (each / "cmdline").read_bytes().split(b"\0")
                if f"paths.outputs={outputs}".encode() in words and b"-m" not in words and alive(each.name):
                    held = [Path(os.readlink(link)) for link in (each / "fd").iterdir()]
                    found[int(each.name)] = next((path.parent for path in held if path.name == ".lock"), None)
    return found


def parts(outputs):
    return set(Path(outputs).glob("tiny/*/.*.partial")) | set(Path(outputs).glob("tiny/*/*/.*.partial"))


def torture(folder, runs, kills, inside, seed=0):
    """Kill `kills` processes of a sweep of `runs`, at least `inside` of them inside a write, then let it end; compare
    with a sweep that nobody disturbed."""
    dice, found, began = random.Random(seed), Found(runs), time.monotonic()
    (folder / "slow").mkdir(exist_ok=True)
    (folder / "slow/sitecustomize.py").write_text(SLOW_DISK)
    calm, wild = folder / "calm", folder / "wild"
    given = ["-m", "hydra/launcher=basic", *GIVEN[1:], f"seed=range(0,{runs})", f"paths.outputs={calm}"]
    # one after the other, in one process
    code, _, err = tiny.Started(folder, *given, PYTHONPATH=str(folder / "src")).end(900)
    assert code == 0, err
    launcher = sweep(folder, wild, runs, first=str(folder / "slow"))
    found.launches = 1
    while sum(found.kills.values()) < kills or launcher.poll() is None:
        if launcher.poll() is not None and (sum(found.kills.values()) < kills or not done(wild, runs)):
            if done(wild, runs) and sum(found.kills.values()) < kills:
                break  # nothing is left to kill
            launcher = sweep(folder, wild, runs, first=str(folder / "slow"))
            found.launches += 1
        if sum(found.kills.values()) >= kills:
            time.sleep(0.2)
            continue
        left = kills - sum(found.kills.values())
        if found.inside < inside and (left <= 2 * (inside - found.inside) or dice.random() < 0.5):
            hit = _inside(wild, dice.randrange(12))
        elif dice.random() < 0.1 and launcher.poll() is None:
            hit = _kill(launcher.pid, "launcher")
        else:
            begun = dice.random() < 0.7  # most of a small run's life is its start
            those = sorted(pid for pid, run in workers(wild).items() if run or not begun)
            time.sleep(dice.uniform(0.0, 1.0) if those else 0.05)
            hit = _kill(dice.choice(those), "run") if those else None
        if hit:
            found.kills[hit[0]] += 1
            found.inside += hit[1]
    while not done(wild, runs) and found.launches < 60:
        if launcher.poll() is not None:
            launcher = sweep(folder, wild, runs)
            found.launches += 1
        time.sleep(0.5)
    launcher.wait(300)
    found.seconds = time.monotonic() - began
    _judge(found, calm, wild)
    return found


def done(outputs, runs):
    states = [json.loads(path.read_text())["state"] for path in Path(outputs).glob("tiny/*/status.json")]
    return states.count("done") == runs


def _kill(pid, who):
    """(who, 0) if it was alive and is dead now by our signal."""
    if not alive(pid):
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return who, 0
    return None


def _inside(outputs, skip, seconds=10.0):
    """Let `skip` writes pass, wait for the next to begin, kill the run that writes. ("run", 1) if it left a part of a
    file behind."""
    end, seen = time.monotonic() + seconds, set()
    while time.monotonic() < end:
        now = parts(outputs) - seen
        seen |= now
        if len(seen) <= skip or not now:
            time.sleep(GLANCE)
            continue
        part = min(now)
        for pid, run in workers(outputs).items():
            if run in part.parents and alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    tiny.wait_for(lambda pid=pid: not alive(pid), 10)
                    return "run", int(part.exists())
    return None


def _judge(found, calm, wild):
    names = sorted(path.name for path in Path(calm).glob("tiny/*"))
    found.lost = sorted(set(names) ^ {path.name for path in Path(wild).glob("tiny/*")})
    found.equal = not found.lost and all(
        tiny.bits(Path(calm) / "tiny" / name) == tiny.bits(Path(wild) / "tiny" / name) for name in names
    )
    found.resumed = sum(json.loads(path.read_text())["starts"] > 1 for path in Path(wild).glob("tiny/*/status.json"))
    made = [frame(tables([read_run(path) for path in sorted(Path(each).glob("tiny/*"))])) for each in (calm, wild)]
    found.equal &= made[0].drop(columns=MEASURED).equals(made[1].drop(columns=MEASURED))


PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def main():
    from metalingua.result.page_part import rewrite

    with tempfile.TemporaryDirectory() as there:
        found = torture(tiny.checkout(Path(there) / "checkout"), runs=12, kills=50, inside=10)
    hit = sum(found.kills.values())
    rows = [
        ("runs in the sweep", found.runs),
        ("SIGKILLs that hit a live process", hit),
        ("of these, runs", found.kills["run"]),
        ("of these, the launcher", found.kills["launcher"]),
        ("of these, inside a write (a part of a file was left)", found.inside),
        ("launches until all was done", found.launches),
        ("runs that were resumed", found.resumed),
        ("runs lost", len(found.lost)),
        (
            "results, weights, episodes and tables equal to an undisturbed sweep, bit for bit",
            "yes" if found.equal else "NO",
        ),
        ("minutes", f"{found.seconds / 60:.1f}"),
    ]
    text = "| | |\n| --- | ---: |\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)
    rewrite(PAGE, "kills", text)
    print(text)
    return 0 if found.equal and hit >= 50 and found.inside >= 10 else 1


if __name__ == "__main__":
    sys.exit(main())
