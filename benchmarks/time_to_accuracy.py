"""Seconds of meta-training until the main job's validation accuracy is at 95 % of its final value: `python -m
benchmarks.time_to_accuracy`.

metalingua first, for all steps of the main job; then the same network, from the same weights, on the same episodes, by
learn2learn's MAML and the same Adam, until it is as good. Only training is timed: no reading, validating, preparing.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from benchmarks.race import OURS, ROOT
from benchmarks.results import Results
from benchmarks.stand_in import learn2learn
from metalingua.model.model import Params
from metalingua.result.identity import plain
from metalingua.task.episode import Episode, Examples
from metalingua.training.data import EpisodeData
from metalingua.training.engine import Engine
from metalingua.training.fit import build_module
from metalingua.training.module import SharedParameterModule
from metalingua.training.progress import quiet
from metalingua.training.reading import read

PEER = "learn2learn"
ENOUGH = 0.95  # of the final accuracy
EVERY = 10  # steps between two looks at the accuracy


class Shared(nn.Module):
    """Stock `nn.LSTM` over padded texts, the mean of its states at real tokens, a head a problem."""

    def __init__(self, start: Params, heads: dict[str, int]):
        super().__init__()
        table, weight = start["encoder.embedding.weight"], start["encoder.lstm.weight_ih"]
        size = weight.shape[0] // 4
        self.embedding = nn.Embedding(*table.shape)
        self.lstm = nn.LSTM(weight.shape[1], size, batch_first=True)
        self.heads = nn.ModuleDict({name: nn.Linear(size, outputs) for name, outputs in heads.items()})
        with torch.no_grad():
            self.embedding.weight.copy_(table)
            self.lstm.weight_ih_l0.copy_(weight)
            self.lstm.weight_hh_l0.copy_(start["encoder.lstm.weight_hh"])
            self.lstm.bias_ih_l0.copy_(start["encoder.lstm.bias"])
            self.lstm.bias_hh_l0.zero_()
            for name, head in self.heads.items():
                head.weight.copy_(start[f"head.{name}.weight"])
                head.bias.copy_(start[f"head.{name}.bias"])

    def forward(self, tokens: Tensor, lengths: Tensor, problem: str) -> Tensor:
        states = self.lstm(self.embedding(tokens))[0]
        real = (torch.arange(tokens.shape[1]) < lengths.unsqueeze(1)).to(states.dtype)
        features = torch.einsum("ilh,il->ih", states, real / lengths.unsqueeze(1))
        return self.heads[problem](features)

    def params(self) -> Params:
        """As metalingua names them, to be judged by the same code."""
        lstm, heads = self.lstm, self.heads
        found = {
            "encoder.embedding.weight": self.embedding.weight,
            "encoder.lstm.weight_ih": lstm.weight_ih_l0,
            "encoder.lstm.weight_hh": lstm.weight_hh_l0,
            "encoder.lstm.bias": lstm.bias_ih_l0 + lstm.bias_hh_l0,
            **{f"head.{name}.weight": head.weight for name, head in heads.items()},
            **{f"head.{name}.bias": head.bias for name, head in heads.items()},
        }
        return {name: value.detach() for name, value in found.items()}


class Theirs:
    """learn2learn's MAML, as its manual has it."""

    def __init__(self, cfg: DictConfig, module: SharedParameterModule):
        start = {name: value.detach() for name, value in module.params.items()}
        self.network = Shared(start, module.model.heads)
        self.maml = learn2learn().algorithms.MAML(self.network, lr=cfg.learner.step_size, allow_unused=True)
        self.optimizer = instantiate(module.optimizer)(self.network.parameters())
        self.steps, self.clip = cfg.learner.steps, cfg.trainer.gradient_clip_val

    def prepare(self, batch: list[Episode]) -> list[Any]:
        """Token ids of the whole vocabulary, which it knows nothing but."""

        def half(rows: Tensor, examples: Examples) -> Any:
            inputs, problem = examples.inputs, examples.problem
            return (rows[inputs.tokens], inputs.lengths, problem.name), problem, examples.targets

        return [(half(each.rows, each.support), half(each.rows, each.query)) for each in batch]

    def step(self, batch: list[Any]) -> None:
        self.optimizer.zero_grad()
        for support, query in batch:
            learner = self.maml.clone()
            for _ in range(self.steps):
                learner.adapt(self.loss(learner, support))
            (self.loss(learner, query) / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()

    @staticmethod
    def loss(learner: nn.Module, half: Any) -> Tensor:
        inputs, problem, targets = half
        return problem.loss(learner(*inputs), targets)

    def params(self) -> Params:
        return self.network.params()


class Ours:
    def __init__(self, cfg: DictConfig, module: SharedParameterModule):
        self.module, self.clip = module, cfg.trainer.gradient_clip_val
        self.optimizer = module.configure_optimizers()

    def prepare(self, batch: list[Episode]) -> list[Episode]:
        return batch

    def step(self, batch: list[Episode]) -> None:
        module = self.module
        self.optimizer.zero_grad()
        module.engine.loss(module.model, module.params, batch, module.episode_loss, module.order).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), self.clip)
        self.optimizer.step()

    def params(self) -> Params:
        return {name: value.detach() for name, value in self.module.params.items()}


def curve(trained: Ours | Theirs, data: EpisodeData, accuracy: Callable[[Params], float]) -> Iterator[dict[str, float]]:
    """Steps, seconds of training so far and accuracy, before the first step and after every EVERY."""
    seconds, steps = 0.0, 0
    yield {"steps": 0, "seconds": 0.0, "accuracy": accuracy(trained.params())}
    for batch in data.train_dataloader():
        prepared = trained.prepare(batch)
        began = time.perf_counter()
        trained.step(prepared)
        seconds, steps = seconds + time.perf_counter() - began, steps + 1
        if steps % EVERY == 0:
            yield {"steps": steps, "seconds": seconds, "accuracy": accuracy(trained.params())}


def reached(points: Sequence[dict[str, float]], target: float) -> dict[str, float] | None:
    """The first point at `target` or above."""
    return next((point for point in points if point["accuracy"] >= target), None)


def measure(overrides: Sequence[str]) -> dict[str, Any]:
    quiet()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"corpus.cache={ROOT / 'data'}", *overrides])
    reading = read(cfg)
    data = EpisodeData(reading.tasks, seed=cfg.seed, steps=cfg.steps, meta_batch=cfg.meta_batch,
                       validation=cfg.episodes.validation, test=1)  # fmt: skip
    module = build_module(cfg, plain(cfg), reading)
    theirs, ours = Theirs(cfg, module), Ours(cfg, module)  # in this order: they copy the fresh weights
    judge, episodes = Engine(), data.episodes("meta_validation")

    def accuracy(params: Params) -> float:
        judged = judge.judge(module.learner, module.model, params, episodes)
        return float(np.mean([each.statistics["accuracy"] for each in judged]))

    mine = list(curve(ours, data, accuracy))
    target = ENOUGH * mine[-1]["accuracy"]
    other: list[dict[str, float]] = []
    for point in curve(theirs, data, accuracy):
        other.append(point)
        if point["accuracy"] >= target:
            break
    curves = {OURS: mine, PEER: other}
    return {
        "steps": cfg.steps,
        "threads": module.engine.threads,
        "final_accuracy": mine[-1]["accuracy"],
        "target": target,
        "reached": {name: reached(points, target) for name, points in curves.items()},
        "curves": curves,
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_to_accuracy", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="of the main job's config, such as steps=20")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    options = parser.parse_args(words)
    results, name = Results(), " ".join(["main", *options.overrides])
    if options.again or not results.fresh("time_to_accuracy", name):
        results.put("time_to_accuracy", name, measure(options.overrides))
    found = results.all["time_to_accuracy"][name]
    print(
        f"final accuracy {found['final_accuracy']:.3f} after {found['steps']} steps; {found['target']:.3f} reached by"
    )
    for who, point in found["reached"].items():
        told = f"{point['seconds']:.1f} s, {point['steps']} steps" if point else "not within these steps"
        print(f"  {who}: {told}")


if __name__ == "__main__":
    main()
