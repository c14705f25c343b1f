"""What a command line says of a study: which one, where runs live, how they are started."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalingua.error import UserError

if TYPE_CHECKING:
    from metalingua.study.plan import Plan
    from metalingua.study.pool import Pool


def root() -> Path:
    """The folder with conf/, train.py and experiments/, from here or above. Raises UserError."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "conf" / "train.yaml").is_file() and (folder / "train.py").is_file():
            return folder
    raise UserError(f"{here} is not in a checkout of metalingua: no conf/train.yaml and train.py here or above")


def planned(options: argparse.Namespace) -> "Plan":
    from metalingua.study.plan import plan
    from metalingua.study.study import find, read

    at = root()
    return plan(read(find(at, options.study)), at / "conf", options.outputs)


def outputs(options: argparse.Namespace) -> Path:
    return options.outputs or Path("outputs")


def launching(made: argparse.ArgumentParser) -> None:
    """Give a command the options that `pool` reads."""
    made.add_argument("--slots", type=int, help="runs at once; here, one for every two cores")
    made.add_argument("--devices", type=int, nargs="+", default=[], metavar="GPU", help="given to the slots in turn")
    made.add_argument("--minutes", type=float, help="time limit of a run")
    made.add_argument("--retries", type=int, help="how often a killed run is started again (1)")
    made.add_argument("--launcher", default="local", metavar="NAME", help="of conf/hydra/launcher: ray, ... (local)")
    made.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of it: options.slurm_partition=gpu")


def pool(options: argparse.Namespace) -> "Pool":
    from metalingua.study.pool import Pool

    given = {"slots": options.slots, "minutes": options.minutes, "retries": options.retries}
    if options.minutes is not None and options.minutes.is_integer():
        given["minutes"] = int(options.minutes)  # as submitit has it
    given = {key: value for key, value in given.items() if value is not None}
    try:
        if options.launcher != "local":
            return _elsewhere(options, given)
        if options.set:
            raise UserError("--set is of a --launcher that is not local, which has --slots, --devices, ... alone")
        return Pool(devices=options.devices, **given)
    except (ValueError, TypeError) as error:
        raise UserError(str(error).replace("hydra.launcher.", "--")) from error


def _elsewhere(options: argparse.Namespace, given: dict[str, Any]) -> "Pool":
    """The pool of `python train.py -m hydra/launcher=NAME`, from the same file."""
    from hydra.utils import get_class
    from omegaconf import OmegaConf

    folder = root() / "conf" / "hydra" / "launcher"
    file = folder / f"{options.launcher}.yaml"
    if not file.is_file():
        there = ", ".join(["local", *sorted(path.stem for path in folder.glob("*.yaml"))])
        raise UserError(f"--launcher is {options.launcher}; there is {there}")
    if options.devices:
        raise UserError(f"--devices is of this machine alone; with --launcher {options.launcher} say what a run needs: "
                        "--set options.num_gpus=1, options.gpus_per_node=1")  # fmt: skip
    whole = OmegaConf.create({"paths": {"outputs": str(outputs(options))}, "launcher": OmegaConf.load(file)})
    whole.launcher = OmegaConf.merge(whole.launcher, given, OmegaConf.from_dotlist(options.set))
    settings: dict[str, Any] = OmegaConf.to_container(whole.launcher, resolve=True)  # type: ignore[assignment]
    kind = get_class(settings.pop("_target_"))
    settings.pop("_convert_", None)
    return kind(**settings).made()
