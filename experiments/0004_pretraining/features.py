"""How far apart texts lie in what a run learned: one direction for all of them, and no head can tell classes apart.

    python experiments/0004_pretraining/features.py texts.parquet outputs/pre_smlmt_transformer/HASH ...

Prints a Markdown row a run, over the first 300 texts: the length of their mean feature, their mean distance to it, and
the participation ratio of their singular values, (sum s^2)^2 / sum s^4: in how many directions they differ.
"""

import sys
from itertools import chain, islice
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from metalingua.corpus.files import Files
from metalingua.corpus.table import Columns
from metalingua.text.batch import pad
from metalingua.training.checkpoint import read_weights
from metalingua.training.start import encoder_config

PREFIX = "encoder."


def main(file: str, runs: list[str]) -> None:
    batches = Files(file, Columns("text")).rows(Path(), None, None)
    texts = list(islice(chain.from_iterable(batch["text"] for batch in batches), 300))
    print("| run | length of the mean | distance to it | directions |\n| --- | ---: | ---: | ---: |")
    for run in map(Path, runs):
        config = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"), resolve=True)
        encoder, tokenizer = instantiate(encoder_config(config)), instantiate(config["text"])
        tokenizer.from_json((run / "tokenizer.json").read_text(encoding="utf-8"))
        weights = read_weights(run / "checkpoints/best.ckpt").items()
        params = {name.removeprefix(PREFIX): value for name, value in weights if name.startswith(PREFIX)}
        with torch.no_grad():
            found = encoder.features(params, pad(tokenizer.encode(texts, config["task"]["max_length"]), texts))
        apart = found - found.mean(0)
        power = torch.linalg.svdvals(apart).square()
        ratio = power.sum() ** 2 / power.square().sum()
        print(f"| {run.parent.name} | {found.mean(0).norm():.2f} | {apart.norm(dim=1).mean():.2f} | {ratio:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
