"""What each pre-training run computed and reached: a Markdown row a kept run.

python experiments/0004_pretraining/compute.py experiments/0004_pretraining/pretraining/*
"""

import json
import sys
from pathlib import Path

from omegaconf import OmegaConf


def main(runs: list[str]) -> None:
    print("| run | steps | outer rate | TFLOP | minutes | meta-validation, by quarter of the steps |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for run in sorted(map(Path, runs), key=lambda path: json.loads((path / "result.json").read_text())["experiment"]):
        result, config = json.loads((run / "result.json").read_text()), OmegaConf.load(run / "config.yaml")
        for found in result["training"].values():
            reached = ", ".join(f"{score:.2f}" for _, _, score in found["history"])
            tera = found["flops_per_step"] * config.steps / 1e12
            print(
                f"| {result['experiment']} | {config.steps} | {config.optimizer.lr:g} | {tera:.1f} | "
                f"{found['seconds'] / 60:.1f} | {reached} |"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
