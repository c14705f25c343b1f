"""Episodes as Lightning wants them: loaders whose batch n is a pure function of the seed and n."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl

from metalingua.task.episode import Episode, Episodes
from metalingua.task.tasks import Tasks


class EpisodeLoader:
    """`batches` batches of `size` episodes. Its state is one integer, so a cut run goes on at the very next batch."""

    def __init__(self, episodes: Episodes, batches: int, size: int):
        self.episodes, self.batches, self.size = episodes, batches, size
        self._first = self._done = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Episode]]:
        first, self._first = self._first, 0
        for n in range(first, self.batches):
            self._done = n + 1
            yield [self.episodes[i] for i in range(n * self.size, (n + 1) * self.size)]

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._first = state["done"] % self.batches


class EpisodeData(pl.LightningDataModule):
    """The episodes of the three splits.

    seed       with the split and the index, decides every episode
    steps      meta-training batches, of `meta_batch` episodes each
    validation, test   episodes a task of that split
    """

    def __init__(self, tasks: Tasks, *, seed: int, steps: int, meta_batch: int, validation: int, test: int):
        super().__init__()
        self.tasks, self.seed, self.steps, self.meta_batch = tasks, seed, steps, meta_batch
        self.count = {"meta_validation": validation, "meta_test": test}

    def episodes(self, split: str) -> list[Episode]:
        """All episodes to judge on in `split`, "meta_validation" or "meta_test"."""
        episodes = self.tasks.episodes(split, self.seed)
        return [episodes[i] for i in range(self.count[split] * len(episodes.tasks))]

    def train_dataloader(self) -> EpisodeLoader:
        return EpisodeLoader(self.tasks.episodes("meta_train", self.seed), self.steps, self.meta_batch)

    def val_dataloader(self) -> EpisodeLoader:
        return self._judged("meta_validation")

    def test_dataloader(self) -> EpisodeLoader:
        return self._judged("meta_test")

    predict_dataloader = test_dataloader

    def _judged(self, split: str) -> EpisodeLoader:
        """A batch is one round over the tasks of the split."""
        episodes = self.tasks.episodes(split, self.seed)
        return EpisodeLoader(episodes, self.count[split], len(episodes.tasks))
