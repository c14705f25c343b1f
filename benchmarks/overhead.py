"""What Lightning, logging and data cost together over the bare engine step, on W2: `python -m benchmarks.overhead`.

One fit, with the callbacks, the checkpoints and the loader of a real run. After each block of its steps as many bare
steps (the engine's loss, backward, Adam) follow on the same episodes, prepared beforehand: so noise meets both.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytorch_lightning as pl
from hydra.utils import instantiate

from benchmarks.results import Results
from benchmarks.workload import WORKLOADS, Workload
from metalingua.result.run import RunDirectory
from metalingua.task.episode import Episode, Episodes
from metalingua.task.task import Rule, Task, make_task
from metalingua.text.word import WordTokenizer
from metalingua.training.checkpoint import Checkpoint, WholeFile
from metalingua.training.data import EpisodeData
from metalingua.training.metrics import MetricsFile
from metalingua.training.module import MetaLearnerModule
from metalingua.training.progress import Progress, quiet

BLOCK = 50  # steps: with one checkpoint in each, as in conf/train.yaml
BLOCKS = 6
TEXTS = 4000


@dataclass
class Generated:
    """What EpisodeData asks of `Tasks`: a task, its texts as long as the workload's, words as frequent as words are."""

    task: Task
    shots: int
    queries: int

    def episodes(self, split: str, seed: int, names: bool = False) -> Episodes:
        return Episodes(split, [self.task], seed=seed, shots=self.shots, queries=self.queries, label_order="fixed")


def generated(w: Workload) -> Generated:
    dice = np.random.default_rng(0)
    words = (w.vocabulary ** dice.random((TEXTS, w.length))).astype(int)
    texts = [" ".join(f"w{word}" for word in row) for row in words]
    classes = [f"class {i}" for i in range(w.ways)]
    labels = [classes[i % w.ways] for i in range(TEXTS)]
    task = make_task("generated", Rule("generated"), domain="generated", texts=texts, labels=labels, ratings=None,
                     label_set=classes, scale=None, ways=w.ways)  # fmt: skip
    task.tokens = WordTokenizer(w.vocabulary).fit(texts).encode(texts, w.length)
    return Generated(task, w.shots, w.queries)


def module(w: Workload) -> MetaLearnerModule:
    encoder = {"_target_": "metalingua.model.lstm.LstmEncoder", "vocabulary": w.vocabulary, "embedding": w.size,
               "hidden": w.size, "pooling": "mean"}  # fmt: skip
    learner = {"_target_": "metalingua.learner.maml.Maml", "label": "MAML", "steps": w.steps,
               "step_size": w.step_size, "order": 1}  # fmt: skip
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": w.lr, "fused": True}
    return MetaLearnerModule(encoder, {f"classification_{w.ways}": w.ways}, learner, optimizer, seed=0)


class Bare(pl.Callback):
    """Times each block of Lightning's steps, then does as many bare ones. It stands last among the callbacks."""

    def __init__(self, twin: MetaLearnerModule, batches: Sequence[list[Episode]], block: int):
        self.twin, self.batches, self.block = twin, batches, block
        self.optimizer = instantiate(twin.optimizer)(twin.parameters())
        self.lightning: list[float] = []  # seconds of each block
        self.bare: list[float] = []

    def on_train_start(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if (index + 1) % self.block:
            return
        ended = time.perf_counter()
        self.lightning.append(ended - self._began)
        for each in self.batches[index + 1 - self.block : index + 1]:
            self.step(each)
        self._began = time.perf_counter()
        self.bare.append(self._began - ended)

    def step(self, batch: list[Episode]) -> None:
        twin = self.twin
        self.optimizer.zero_grad()
        twin.engine.loss(twin.model, twin.params, batch, twin.episode_loss, twin.order).backward()
        self.optimizer.step()


def measure(w: Workload, blocks: int, block: int) -> dict[str, Any]:
    """Shares over the bare step: of each block but the first, which warms up, their median and range."""
    quiet()
    steps = (blocks + 1) * block
    data = EpisodeData(generated(w), seed=0, steps=steps, meta_batch=w.tasks, validation=1, test=1)  # type: ignore[arg-type]
    bare = Bare(module(w), list(data.train_dataloader()), block)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps,
            gradient_clip_val=10.0,
            log_every_n_steps=10,
            enable_model_summary=False,
            limit_val_batches=0,
            callbacks=[MetricsFile(run.metrics, 10), Checkpoint(run, BLOCK, {}), Progress(), bare],
            logger=[],
            plugins=[WholeFile()],
            enable_checkpointing=False,
            inference_mode=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        trainer.fit(module(w), data)
    pairs = list(zip(bare.lightning, bare.bare, strict=True))[1:]
    over = [shell / core - 1 for shell, core in pairs]
    return {
        "workload": asdict(w),
        "threads": bare.twin.engine.threads,
        "block_steps": block,
        "lightning_seconds": bare.lightning,
        "bare_seconds": bare.bare,
        "overhead": median(over),
        "overhead_range": [min(over), max(over)],
        "bare_step_seconds": median(core / block for _, core in pairs),
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="after the one that warms up")
    parser.add_argument("--block", type=int, default=BLOCK, help="steps")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    options = parser.parse_args(words)
    results = Results()
    if options.again or not results.fresh("overhead", "W2"):
        results.put("overhead", "W2", measure(WORKLOADS["W2"], options.blocks, options.block))
    found = results.all["overhead"]["W2"]
    low, high = found["overhead_range"]
    print(f"Lightning, logging and data: {found['overhead']:+.1%} ({low:+.1%} to {high:+.1%}) over a bare step of "
          f"{1000 * found['bare_step_seconds']:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
