"""Episodes as Lightning wants them: loaders whose batch n is a pure function of the seed and n."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytorch_lightning as pl

from metalingua.error import UserError
from metalingua.task.episode import Episode, Episodes
from metalingua.task.tasks import Tasks

AHEAD = 2  # batches made or in the making when one is asked for, that one among them


class EpisodeLoader:
    """`batches` batches of `size` episodes. Its state is one integer, so a cut run goes on at the very next batch.

    A thread of its own makes the next batch while the one before is learned from. What is ready but was not handed out
    is not done. The thread ends with the pass, however that ends.

    Of several processes each takes an equal share of every batch, the one of its `rank`.
    """

    def __init__(self, episodes: Episodes, batches: int, size: int, rank: int = 0, processes: int = 1):
        if size % processes:
            raise UserError(
                f"meta_batch is {size} and trainer.devices makes {processes} processes: each takes as many tasks of a "
                f"batch, so meta_batch must be a multiple of {processes}; set meta_batch={size + -size % processes}"
            )
        self.episodes, self.batches, self.size = episodes, batches, size
        self._share = range(rank * size // processes, (rank + 1) * size // processes)
        self._first = self._done = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Episode]]:
        first, self._first = self._first, 0
        maker = ThreadPoolExecutor(1, "episodes")
        try:
            ahead: deque[Future[list[Episode]]] = deque()
            for n in range(first, self.batches):
                for later in range(n + len(ahead), min(n + AHEAD, self.batches)):
                    ahead.append(maker.submit(self._batch, later))
                batch = ahead.popleft().result()
                self._done = n + 1
                yield batch
        finally:
            maker.shutdown(cancel_futures=True)

    def _batch(self, n: int) -> list[Episode]:
        return [self.episodes[n * self.size + i] for i in self._share]

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._first = state["done"] % self.batches


class EpisodeData(pl.LightningDataModule):
    """The episodes of the three splits.

    seed       with the split and the index, decides every episode
    steps      meta-training batches, of `meta_batch` episodes each
    validation, test   episodes a task of that split
    names      whether the loaders' episodes say what their classes are called
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        seed: int,
        steps: int,
        meta_batch: int,
        validation: int,
        test: int,
        names: bool = False,
    ):
        super().__init__()
        self.tasks, self.seed, self.steps, self.meta_batch, self.names = tasks, seed, steps, meta_batch, names
        self.count = {"meta_validation": validation, "meta_test": test}

    def episodes(self, split: str, names: bool = False) -> list[Episode]:
        """All episodes to judge on in `split`, "meta_validation" or "meta_test"; with the classes' `names`."""
        episodes = self.tasks.episodes(split, self.seed, names)
        return [episodes[i] for i in range(self.count[split] * len(episodes.tasks))]

    def train_dataloader(self) -> EpisodeLoader:
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return EpisodeLoader(
            self.tasks.episodes("meta_train", self.seed, self.names), self.steps, self.meta_batch, rank, processes
        )  # fmt: skip

    def val_dataloader(self) -> EpisodeLoader:
        return self._judged("meta_validation")

    def test_dataloader(self) -> EpisodeLoader:
        return self._judged("meta_test")

    predict_dataloader = test_dataloader

    def _judged(self, split: str) -> EpisodeLoader:
        """A batch is one round over the tasks of the split. Of several processes the first judges alone: others have
        a batch of nothing."""
        episodes = self.tasks.episodes(split, self.seed, self.names)
        if self.trainer and self.trainer.global_rank:
            return EpisodeLoader(episodes, 1, 0)
        return EpisodeLoader(episodes, self.count[split], len(episodes.tasks))
