"""Lightning's half: move, step, log. Mathematics lives in learner/ and model/, the loop over tasks in the engine."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from metalingua.error import UserError
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode
from metalingua.text.tokenizer import Tokenizer
from metalingua.training.engine import Engine


class Diverged(UserError):
    """A loss, gradient or parameter that is not a finite number."""

    def __init__(self, what: str, step: int):
        """`what` was not finite after `step` steps."""
        super().__init__(
            f"{what} is not a finite number at step {step}: training stopped, the checkpoints are from before it. "
            "Lower optimizer.lr or learner.step_size, or set a lower trainer.gradient_clip_val"
        )


class SharedParameterModule(pl.LightningModule):
    """The shared-parameter model: theta and a head a problem, trained on the examples of all tasks at once.

    Every argument is plain data, so that `load_from_checkpoint` builds the same module again:
    encoder, learner, optimizer   configs with a `_target_` (the optimizer's is `_partial_`)
    heads    problem name to outputs
    seed     of the fresh parameters
    threads, batching   of the engine
    """

    def __init__(
        self,
        encoder: dict,
        heads: dict[str, int],
        learner: dict,
        optimizer: dict,
        seed: int,
        threads: int | None = None,
        batching: str = "auto",
    ):
        super().__init__()
        self.save_hyperparameters()
        self.model = Model(instantiate(encoder), heads)
        self.learner = instantiate(learner, _convert_="all")
        self.optimizer = optimizer
        self.engine = Engine(threads, batching)
        # Lightning saves parameters under module names, which cannot hold a dot
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(value) for name, value in self._fresh().items()}
        )
        self._scores: dict[str, list[float]] = {}

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        """Tell the encoder how texts are read and which ones there are, before anything is trained.

        Returns what the encoder has to say of it.
        """
        found = self.model.encoder.prepare(tokenizer, texts)
        with torch.no_grad():
            for name, value in self._fresh().items():  # as an encoder that knows the words would have them
                self.params[name].copy_(value)
        return found

    def _fresh(self) -> Params:
        seed = self.hparams["seed"]
        return self.model.init(seed) | self.learner.init(self.model, seed)

    @property
    def params(self) -> Params:
        """All meta-learned parameters by their dotted names."""
        return {name.replace("/", "."): value for name, value in self.weights.items()}

    order = 1

    @property
    def vmaps(self) -> bool:
        """Whether `episode_loss` runs under torch.vmap."""
        return self.model.encoder.vmaps

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """The loss of one task's examples, support and query alike, under the shared parameters; times its weight."""
        halves = (episode.support, episode.query)
        losses = [
            half.problem.loss(model.outputs(params, half.inputs, half.problem), half.targets) * len(half.inputs)
            for half in halves
        ]
        return episode.loss_weight * sum(losses, torch.zeros(())) / sum(len(half.inputs) for half in halves)

    def training_step(self, batch: list[Episode], batch_index: int) -> Tensor:
        loss = self.engine.loss(self.model, self.params, batch, self.episode_loss, self.order, self.vmaps)
        whole = self.trainer.strategy.reduce(loss.detach(), reduce_op="mean")  # of all processes: they stop together
        if not torch.isfinite(whole):
            raise Diverged("the training loss", self.global_step)
        self.log("train/loss", whole, batch_size=len(batch), prog_bar=True)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning's, but for the norm, which is worked out once: to clip by, and to see whether it is finite."""
        most = math.inf if gradient_clip_val is None else gradient_clip_val
        by_value = gradient_clip_algorithm == "value"
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), math.inf if by_value else most)
        if not torch.isfinite(norm):
            raise Diverged("the norm of the outer gradient", self.global_step)
        if by_value:
            torch.nn.utils.clip_grad_value_(self.parameters(), most)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return instantiate(self.optimizer, _partial_=True)(self.parameters())

    def _judge(self, split: str, batch: list[Episode]) -> None:
        for judgement in self.engine.judge(self.learner, self.model, self.params, batch):
            for name, value in judgement.statistics.items():
                if isinstance(value, list):  # counts are no mean of episodes
                    continue
                self._scores.setdefault(f"{split}/{name}", []).append(value)

    def _log_means(self) -> None:
        self.log_dict({name: float(np.mean(values)) for name, values in self._scores.items()}, prog_bar=True)
        self._scores = {}

    def validation_step(self, batch: list[Episode], batch_index: int) -> None:
        self._judge("val", batch)

    def test_step(self, batch: list[Episode], batch_index: int) -> None:
        self._judge("test", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_means()

    def on_test_epoch_end(self) -> None:
        self._log_means()

    def predict_step(self, batch: list[Episode], batch_index: int) -> list[np.ndarray]:
        """The labels given to each episode's queries, [query items] each."""
        return [judgement.predictions for judgement in self.engine.judge(self.learner, self.model, self.params, batch)]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_index: int) -> Any:
        return batch


class MetaLearnerModule(SharedParameterModule):
    """The first- or second-order meta-learner: trained through its own adaptation."""

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.learner.order

    @property
    def vmaps(self) -> bool:
        return super().vmaps and self.learner.vmaps

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        return episode.loss_weight * self.learner.episode_loss(model, params, episode)
