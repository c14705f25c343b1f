"""What a command line says of a study: which one, where runs live, how they are started."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
    from metalingua.study.study import find

    at = root()
    return plan(find(at, options.study), at / "conf", options.outputs)


def outputs(options: argparse.Namespace) -> Path:
    return options.outputs or Path("outputs")


def pool(options: argparse.Namespace) -> "Pool":
    from metalingua.study.pool import Pool

    try:
        return Pool(options.slots, options.devices, options.minutes, options.retries)
    except ValueError as error:
        raise UserError(str(error).replace("hydra.launcher.", "--")) from error
