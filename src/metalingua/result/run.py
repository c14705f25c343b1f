"""One run on disk: its folder, its lock, its status, its result."""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalingua.error import UserError
from metalingua.result.metric import METRICS

if TYPE_CHECKING:
    import pandas

AGAIN = "its command with rerun=true makes it anew; a kept one comes back with git"
STATES = ("running", "interrupted", "failed", "done")

# episodes.parquet, one row per (learner, target, episode): column -> pandas dtype. Beside these, of targets that are
# judged otherwise, columns named after their metrics: a number, or counts (metalingua.result.metric)
EPISODE_COLUMNS = {
    "learner": "str", "target": "str", "episode": "int64",
    "accuracy": "float64",           # 0..1; NaN for regression
    "balanced_accuracy": "float64",  # 0..1; NaN for regression
    "rmse": "float64",               # rating points; NaN for classification
    "loss": "float64",               # nats, or squared units of the scale -1..1
    "adapt_seconds": "float64", "items": "int64",
}  # fmt: skip


class RunError(UserError):
    """A run directory cannot be read, written or compared."""


class Busy(RunError):
    """Another process is at work on this run."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: come again; not the 2 of a refusal


class RunDirectory:
    """outputs/<experiment>/<hash>/. Making this object touches no disk; `lock` creates the folder."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self._status = self.path / "status.json"
        self.result = self.path / "result.json"
        self.episodes = self.path / "episodes.parquet"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"  # what is tested
        self.tokenizer = self.path / "tokenizer.json"
        self.figures = self.path / "figures"
        self.table = self.path / "table.md"
        self._running_since: float | None = None  # monotonic seconds of this process's last status write while running

    @contextlib.contextmanager
    def lock(self, wait: bool = False) -> Iterator["RunDirectory"]:
        """Hold the run for this process alone; the folder is made if need be. The system frees the lock of a process
        that dies, however it dies.

        wait  until another process that holds it lets go; False raises Busy at once
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = FileLock(self.path / ".lock", timeout=-1 if wait else 0)
            held.acquire()
        except Timeout:
            raise Busy(
                f"another process is working on {self.path}; wait until it ends, or stop it. It resumes where it was"
            ) from None
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            for leftover in self.path.glob(".*.partial"):  # of a process killed in the middle of a write
                leftover.unlink(missing_ok=True)
            yield self
        finally:
            held.release()

    @property
    def busy(self) -> bool:
        """Whether a process holds it just now. Makes no folder."""
        from filelock import FileLock, Timeout

        if not (self.path / ".lock").exists():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder that cannot be written: nobody works there
            return False

    def status(self) -> dict[str, Any]:
        """What status.json says; {} where there is none yet. `running` without a holder of the lock means killed."""
        try:
            return json.loads(self._status.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise RunError(f"{self._status} cannot be read ({error}); remove it and run again to resume") from error

    @property
    def done(self) -> bool:
        return self.status().get("state") == "done"

    def set_status(self, state: str, **more: Any) -> None:
        """Replace status.json in one atomic write.

        state  one of STATES
        more   facts of this moment (step, message); they last until the next call
        Kept from call to call: `started` and `starts` (first time and count of starts), `updated`, `finished` (UTC),
        `elapsed_seconds` spent running, over all resumes. Call it as `running` at each checkpoint too: of a killed run,
        only the seconds since its last call are not counted.
        """
        if state not in STATES:
            raise ValueError(f"state is {state!r}; it must be one of {', '.join(STATES)}")
        before, now, clock = self.status(), datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        elapsed, starts = before.get("elapsed_seconds", 0.0), before.get("starts", 0)
        if self._running_since is not None:
            elapsed += clock - self._running_since
        elif state == "running":
            starts += 1
        self._running_since = clock if state == "running" else None
        status = {"state": state, "updated": now, "starts": starts, "elapsed_seconds": elapsed}
        if starts:
            status["started"] = before.get("started", now)
        if state == "done":
            status["finished"] = now
        write_atomically(self._status, _json({**more, **status}))

    def forget(self) -> None:
        """Remove status and results, for a run that is to be done anew."""
        for file in (self._status, self.result, self.episodes, self.metrics):
            file.unlink(missing_ok=True)
        self._running_since = None

    def finish(self, result: Mapping[str, Any], episodes: "pandas.DataFrame") -> None:
        """Write episodes.parquet and result.json, then `done` in status.json: that write, the last, is what counts.

        result    as the design lays it out; numbers that are not finite are written as null
        episodes  columns EPISODE_COLUMNS, and any of METRICS, one row per (learner, target, episode)
        Raises RunError if the disk refuses, ValueError for missing or unknown columns.
        """
        more = [name for name in METRICS if name in episodes and name not in EPISODE_COLUMNS]
        if set(episodes.columns) != {*EPISODE_COLUMNS, *more}:
            raise ValueError(f"episodes has columns {sorted(episodes.columns)}, it needs {sorted(EPISODE_COLUMNS)}")
        parquet = BytesIO()
        episodes[[*EPISODE_COLUMNS, *more]].astype(EPISODE_COLUMNS).to_parquet(parquet, index=False)
        write_atomically(self.episodes, parquet.getvalue())
        write_atomically(self.result, _json(result))
        self.set_status("done")


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """result.json of a done run, or of one kept under experiments/ (which has no status.json). Raises RunError where it
    is not done, or the file is missing or damaged."""
    run = RunDirectory(path)
    state = run.status().get("state")
    if state not in (None, "done"):
        raise RunError(f"{run.path} is {state}, not done; start the same command again to finish it")
    try:
        found = json.loads(run.result.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{run.path} is no done run: {run.result.name} is missing") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{run.result} is damaged ({error}); {AGAIN}") from error
    if not isinstance(found, dict) or not {"settings", "learner", "targets", "hash"} <= set(found):
        raise RunError(f"{run.result} is no result of a run; {AGAIN}")
    return found


def read_run(path: str | os.PathLike[str]) -> tuple[dict[str, Any], "pandas.DataFrame"]:
    """(result, episodes) of a done run, or of a kept one. Raises RunError as `read_result`, or for damaged episodes."""
    import pandas

    run, result = RunDirectory(path), read_result(path)
    try:
        episodes = pandas.read_parquet(run.episodes)
    except FileNotFoundError as error:
        raise RunError(f"{run.path} is no done run: {run.episodes.name} is missing") from error
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise RunError(f"{run.episodes} is damaged ({error}); {AGAIN}") from error
    missing = set(EPISODE_COLUMNS) - set(episodes.columns)
    if missing:
        raise RunError(f"{run.episodes} lacks the columns {', '.join(sorted(missing))}; {AGAIN}")
    return result, episodes


def score(run: RunDirectory) -> float | None:
    """The mean meta-validation score of a done run's own learner, 0 to 1 for accuracies: what a search goes by."""
    result = read_result(run.path)
    found = result["settings"][result["learner"]].get("validation")
    return None if found is None else float(found)


def keep(run: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Copy what a done run found, without its weights, to folder/<hash>/ and return that path.

    result.json is written last, so that a cut copy never counts as done. Raises RunError if the run is not done.
    """
    source = RunDirectory(run)
    result, _ = read_run(source.path)
    target = RunDirectory(Path(folder) / result["hash"])
    for name in ("config", "episodes", "result"):
        file: Path = getattr(source, name)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise RunError(f"{file} cannot be read ({error.strerror}), so {source.path} is not kept") from error
        write_atomically(getattr(target, name), content)
    return target.path


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Make `path` hold `content`: after any crash it holds the old bytes or the new ones, never a part of either.

    The folder is made if need be; an existing file's permissions stay. Raises RunError, naming the path and the way
    out, where the disk refuses; nothing half-written is left.
    """
    final = Path(os.path.realpath(path))  # through a link, not over it
    partial = final.with_name(f".{final.name}.{secrets.token_hex(4)}.partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            shutil.copymode(final, partial)
        os.replace(partial, final)
    except OSError as error:
        raise unwritable(final, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    _sync_folder(final.parent)


def config_hash(config: Mapping[str, Any], irrelevant: Iterable[str] = ()) -> str:
    """The first 12 hex digits of the sha256 of `config` as canonical JSON: the name of its run directory.

    config      plain, resolved containers (OmegaConf.to_container(cfg, resolve=True))
    irrelevant  as `relevant` takes them
    """
    canonical = json.dumps(relevant(config, irrelevant), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def relevant(config: Mapping[str, Any], irrelevant: Iterable[str]) -> dict[str, Any]:
    """A copy of `config` without the dotted keys `irrelevant`, which cannot change a result; each is left out with
    everything below it. So is null: a key that is new, and null where it asks for nothing, renames no run. 1.0 is 1."""

    def pruned(node: Any, at: str) -> Any:
        if isinstance(node, list | tuple):
            return [pruned(each, f"{at}[].") for each in node]
        if isinstance(node, float) and node.is_integer():
            return int(node)
        if not isinstance(node, Mapping):
            return node
        kept = {}
        for key, value in node.items():
            dotted = f"{at}{key}"
            if dotted in drop or value is None:
                continue
            inner = pruned(value, f"{dotted}.")
            if inner != {} or value == {}:  # a group of which nothing is left is as good as absent
                kept[str(key)] = inner
        return kept

    drop = set(irrelevant)
    return pruned(config, "")


SECRET = "***"
_PASSWORD = {"password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials"}
_KEY = {"key", "keys", "apikey", "token"}
_SPECIAL = {"pad", "padding", "unk", "unknown", "mask", "cls", "sep", "bos", "eos", "special"}  # a tokenizer's tokens
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def without_secrets(config: Any) -> Any:
    """A copy of `config` in which every value under a key that names a key, token or password is "***", and so is the
    user:password of any URL. None and booleans stay: they give nothing away."""
    return _hidden(config, secret=False, numbers=False)


def _hidden(node: Any, secret: bool, numbers: bool) -> Any:
    if isinstance(node, Mapping):
        copy = {}
        for key, value in node.items():
            words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(key)).lower())
            password = bool(_PASSWORD & set(words))
            named = password or bool(words and words[-1] in _KEY and not _SPECIAL & set(words))
            copy[key] = _hidden(value, secret or named, numbers or password)
        return copy
    if isinstance(node, (list, tuple)):
        return [_hidden(value, secret, numbers) for value in node]
    if isinstance(node, str):
        return SECRET if secret and node else _USERINFO.sub(f"{SECRET}@", node)
    return SECRET if numbers and isinstance(node, (int, float)) and not isinstance(node, bool) else node


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """As JSON has it: numpy scalars as numbers, NaN and infinities as null. The order of keys is kept: it is the
    order of a table's rows."""
    if hasattr(value, "tolist"):  # numpy scalar or array
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def unwritable(path: Path, error: OSError) -> RunError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        rule = "the disk, or your share of it, is full; free some space"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        rule = "this user may not write there; make it writable"
    else:
        rule = "make sure that the folder exists and can be written"
    return RunError(
        f"cannot write {path}: {error.strerror or error}: {rule}, or choose another folder (for runs: paths.outputs). "
        "What was there before is untouched"
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut. Not every system lets a folder be opened: there, the rename stands alone."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
