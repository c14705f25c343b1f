"""Weights & Biases, which mirrors what the files hold: one W&B run of a run, and one of a study's pages."""

import netrc
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "dryrun": "offline"}  # of WANDB_MODE


def wanted(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> tuple[str, str]:
    """The mode that is taken where none is asked for, and why: what WANDB_MODE says ("offline" where that is nothing
    that is known here: then nothing is sent), else online where W&B has a key, else offline."""
    if said := environment.get("WANDB_MODE"):
        return MODES.get(said, "offline"), "WANDB_MODE says so" if said in MODES else f"WANDB_MODE is {said}"
    key = _key(environment, home)
    return ("online", key) if key else (
        "offline", "no key; `wandb login` or WANDB_API_KEY make it online, WANDB_MODE decides")  # fmt: skip


def has_key() -> bool:
    """Whether W&B can sign in without asking."""
    return _key(os.environ, None) is not None


def _key(environment: Mapping[str, str], home: Path | None) -> str | None:
    """Where W&B has a key, which is not looked at: in the environment, or in the netrc file."""
    if environment.get("WANDB_API_KEY"):
        return "WANDB_API_KEY is set"
    host = urlsplit(environment.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    try:
        file = Path(environment.get("NETRC") or (home or Path.home()) / ".netrc")
        return f"{file} has an entry for {host}" if netrc.netrc(file).authenticators(host) else None
    except (OSError, RuntimeError, netrc.NetrcParseError):  # no file, no home, no sense in it
        return None


def opened(mode: str, folder: Path, **identity: Any) -> Any:
    """What wandb.init gives, a context, with its files below `folder`; "online", "offline" or "disabled"."""
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        mode=mode,  # type: ignore[arg-type]
        x_disable_meta=True,  # the command line: it may hold what config.yaml leaves out
    )
    more: dict[str, Any] = {"resume": "allow"} if mode == "online" else {}
    return wandb.init(**identity, dir=folder, settings=settings, **more)


def send(
    study: str,
    files: Iterable[Path],
    kind: str,
    folder: Path,
    facts: Mapping[str, Any],
    mode: str,
    project: str,
) -> None:
    """Log `files` of a study as one artifact "STUDY-KIND" of type `kind`, in a W&B run of the group of its runs.

    folder  where an offline run is written, for `wandb sync`
    facts   of the artifact: what traces its numbers
    Content that W&B has already makes no new version.
    """
    import wandb

    if mode == "offline":
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier call: one run is synced, not two of one id
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{study}-{kind}"
    with opened(mode, folder, project=project, group=study, id=name, name=name, job_type=kind) as mirror:
        artifact = wandb.Artifact(name, type=kind, metadata=dict(facts))
        for file in files:
            artifact.add_file(str(file), name=file.name)
        mirror.log_artifact(artifact)
