"""Is this environment healthy? Looks, changes nothing, fetches nothing, imports no torch into this process."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from metalingua.result.wandb import wanted

GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report. `mark`: "ok", "note" (works, worth knowing) or "broken" (exit code 1)."""

    mark: str
    what: str
    detail: str = ""


def examine(root: Path) -> int:
    """Print all findings about the repository at `root` and its environment; 1 if something is broken, else 0."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    parts: dict[str, Callable[[], list[Finding]]] = {
        "versions": lambda: versions(root / "requirements.txt"),
        "Hydra plugins": plugins,
        "corpora": lambda: corpora(root / "conf" / "corpus"),
        "Weights & Biases": lambda: [wandb_mode(os.environ, Path.home())],
        "devices": devices,
        "space": lambda: space(root),
    }
    console, healthy = Console(), True
    for title, look in parts.items():
        console.print(Text(title, style="bold"))
        grid = Table.grid(padding=(0, 2))
        for finding in look():
            healthy = healthy and finding.mark != "broken"
            colour = {"ok": "green", "note": "yellow", "broken": "bold red"}[finding.mark]
            grid.add_row("", Text(finding.mark, style=colour), Text(finding.what), Text(finding.detail, style="dim"))
        console.print(grid)
    console.print("[green]healthy" if healthy else "[bold red]something is broken: see above")
    return 0 if healthy else 1


def versions(requirements: Path) -> list[Finding]:
    """Python, and what `requirements` pins against what is installed; only differences are broken."""
    from packaging.requirements import Requirement

    python = platform.python_version()
    root = requirements.parent
    found = [Finding("ok" if sys.version_info >= (3, 11) else "broken", f"Python {python}", "3.11 or newer is needed")]
    if not requirements.exists():
        return [*found, Finding("broken", "requirements.txt", f"not in {root}; run this in the repository")]
    agree = 0
    for line in requirements.read_text(encoding="utf-8").splitlines():
        line = line.partition(" #")[0].strip()
        if not line or line.startswith(("#", "-")):  # options, and the package itself by `-e .`
            continue
        wanted = Requirement(line.partition(" --")[0])
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding("broken", wanted.name, f"not installed, {wanted.specifier} is wanted: run make train"))
            continue
        if wanted.specifier.contains(installed, prereleases=True):  # 2.13.0+cpu agrees with ==2.13.0
            agree += 1
        else:
            found.append(
                Finding("broken", f"{wanted.name} {installed}", f"{wanted.specifier} is wanted: run make train")
            )
    return [*found, Finding("ok", f"{agree} packages as pinned", requirements.name)]


# Each module's name is printed before its import, so that a crash has a name too.
_IMPORT_PLUGINS = """
import importlib, json, pkgutil
try:
    import hydra_plugins
    modules = list(pkgutil.walk_packages(hydra_plugins.__path__, "hydra_plugins.", onerror=lambda name: None))
except ImportError:
    modules = []
for module in modules:
    print(json.dumps({"trying": module.name}), flush=True)
    try:
        importlib.import_module(module.name)
    except BaseException as error:
        print(json.dumps({"broken": module.name, "error": f"{type(error).__name__}: {error}"}), flush=True)
print(json.dumps({"end": True}), flush=True)
"""


def plugins() -> list[Finding]:
    """Hydra imports every module under hydra_plugins at its start: one that fails breaks every Hydra program."""
    ran = _python(_IMPORT_PLUGINS)
    said = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    way_out = "uninstall the package it came with, or pin a version that works with this Python"
    found = [
        Finding("broken", line["broken"], f"{' '.join(line['error'].split())[:200]}; {way_out}")
        for line in said
        if "broken" in line
    ]
    tried = [line["trying"] for line in said if "trying" in line]
    if not said or "end" not in said[-1]:
        last = tried[-1] if tried else "hydra_plugins"
        found.append(Finding("broken", last, f"importing it ended Python (exit code {ran.returncode}); {way_out}"))
    return found or [Finding("ok", ", ".join(tried) or "none installed")]


def corpora(folder: Path) -> list[Finding]:
    """For each yaml in `folder`: is its text here, or will it be fetched? Nothing is fetched now."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    found = []
    for file in sorted(folder.glob("*.yaml")):
        usual = {"source": "pypi", "own": {"pypi": "files"}, "cache": "data"}
        config = OmegaConf.create({"corpus": usual, "it": OmegaConf.load(file)})
        if missing := sorted(OmegaConf.missing_keys(config)):
            keys = ", ".join(key.removeprefix("it.") for key in missing)
            found.append(Finding("ok", file.stem, f"for your own texts: give {keys}"))
            continue
        try:
            corpus = instantiate(config.it)
            here = corpus.present()
        except Exception as error:  # whatever a yaml can do wrong: it is this file that has to be mended
            found.append(Finding("broken", file.stem, f"{file}: {' '.join(str(error).split())[:300]}"))
            continue
        if here:
            found.append(Finding("ok", file.stem, f"present ({corpus.source})"))
        else:
            how = "your own file, where files.paths says" if corpus.source == "files" else "fetched when first used"
            found.append(Finding("note", file.stem, f"not here; {how} ({corpus.source})"))
    return found or [Finding("broken", "none", f"no yaml in {folder}; run this in the repository")]


def wandb_mode(environment: Mapping[str, str], home: Path) -> Finding:
    """The W&B mode that a run with default settings gets. Whether there is a key is looked at, never the key."""
    mode, why = wanted(environment, home)
    return Finding("ok", mode, why)


_LOOK_FOR_DEVICES = """
import json, torch
from metalingua.model import native
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(), "cuda": names,
                  "mps": torch.backends.mps.is_available(), "native": native.library(torch.float32) is not None}))
"""


def devices() -> list[Finding]:
    """What torch can compute on, asked in another process."""
    ran = _python(_LOOK_FOR_DEVICES)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
        return [Finding("broken", "torch", f"{last}; run make train to install what requirements.txt pins")]
    said = json.loads(ran.stdout.splitlines()[-1])
    found = [Finding("ok", "cpu", f"{os.cpu_count()} cores, {said['threads']} torch threads, torch {said['version']}")]
    if said["native"]:
        found.append(Finding("ok", "C compiler", "the LSTM runs its loops in C"))
    else:
        found.append(
            Finding("note", "no C compiler", "the LSTM runs its loops in torch, more slowly: install cc, gcc or clang")
        )
    found += [Finding("ok", f"cuda:{place}", name) for place, name in enumerate(said["cuda"])]
    return [*found, *([Finding("ok", "mps")] if said["mps"] else [])]


def space(root: Path) -> list[Finding]:
    """Free disk below `root`, and memory."""
    free = shutil.disk_usage(root).free / GIB
    found = [Finding("ok" if free >= 2 else "note", f"{free:.1f} GiB of disk free", "about 1 GiB is needed")]
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        memory = int(lines["MemAvailable"].split()[0]) * 1024 / GIB
    except (OSError, KeyError, ValueError):  # not Linux
        return found
    return [*found, Finding("ok" if memory >= 2 else "note", f"{memory:.1f} GiB of memory free", "a run needs 2 GiB")]


def _python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter with this one's import path, so that a crash in it stays there."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        words = [sys.executable, "-c", code]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return subprocess.CompletedProcess(error.cmd, 124, output, "no answer within 120 seconds")
