"""Meta-learn, adapt, compare: one run from one config. `python train.py --help` names the choices."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from metalingua.check.check import check
from metalingua.composition import fails, in_words
from metalingua.error import UserError


class Told(Exception):
    """One run of a multirun stopped, and the person was told why: the other runs go on."""


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    try:
        check(cfg)
        from metalingua.result.run import score
        from metalingua.training.progress import quiet
        from metalingua.training.report import show
        from metalingua.training.run import execute  # torch and Lightning take seconds: only a run pays for them

        quiet()
        run = execute(cfg)
        show(run)
        return score(run)  # what a search goes by
    except UserError as error:
        stop(f"{type(error).__name__}: {error}", getattr(error, "exit_code", 2))
    except InstantiationException as error:  # Hydra's wrapping of what a constructor raised
        if not isinstance(error.__cause__, ValueError | UserError):
            raise  # no refusal, but a bug: with its traceback
        key = str(error).rpartition("full_key: ")[2]
        stop(f"{type(error.__cause__).__name__}: {error.__cause__} (in {key})")


def stop(words: str, code: int = 2) -> NoReturn:
    print(f"\n{words}", file=sys.stderr)
    if HydraConfig.get().mode == RunMode.RUN or code > 128:  # a person told it to stop: so does a whole multirun
        sys.exit(code)
    raise Told


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here as they are
    try:
        main()
    except Told:
        sys.exit(2)
    except InstantiationException:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if not fails(error):
            raise
        print(in_words(error, sys.argv[1:], Path(__file__).parent / "conf"), file=sys.stderr)
        if "Could not override" in str(error) or "Could not delete" in str(error):
            print("There is no such key; `python train.py --cfg job` prints all there are", file=sys.stderr)
        sys.exit(2)
    except UserError as error:  # of a whole sweep
        print(f"\n{error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    except KeyboardInterrupt:
        sys.exit(130)
