"""Meta-learn, adapt, compare: one run from one config. `python train.py --help` names the choices."""

import os
import sys

import hydra
from omegaconf import DictConfig

from metalingua.check import check
from metalingua.error import UserError


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    try:
        check(cfg)
        from metalingua.training.report import show
        from metalingua.training.run import execute, quiet  # torch and Lightning take seconds: only a run pays for them

        quiet()
        show(execute(cfg))
    except UserError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    main()
