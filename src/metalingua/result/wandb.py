"""Weights & Biases, which mirrors what the files hold: one W&B run of a run, and one of a study's pages."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


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
