"""Meta-training: the module, its data and Lightning's trainer, built for a run, begun or gone on with."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from metalingua.error import UserError
from metalingua.machine import cores
from metalingua.result.identity import commit, encoder_config
from metalingua.result.run import RunDirectory
from metalingua.training.checkpoint import Checkpoint, WholeFile, read_weights
from metalingua.training.data import EpisodeData
from metalingua.training.flops import flops
from metalingua.training.interrupt import GO_ON, Interrupted
from metalingua.training.learners import build, learner_name, learners
from metalingua.training.metrics import MetricsFile
from metalingua.training.module import MetaLearnerModule, SharedParameterModule
from metalingua.training.processes import Place, Shared, helped, processes
from metalingua.training.progress import GradientNorms, Progress, say
from metalingua.training.reading import Reading

HELPER = {"callbacks": [], "logger": False, "enable_progress_bar": False, "profiler": None}  # it writes nothing
COUNTED = 4  # meta-training tasks whose operations are counted


class Training:
    """The module, its data and its trainer, built but not begun: nothing is written yet.

    place  of this process among those of trainer=ddp; None: it is the run's own
    """

    def __init__(
        self, cfg: DictConfig, config: dict[str, Any], run: RunDirectory, reading: Reading, place: Place | None = None
    ):
        self.cfg, self.run, tasks = cfg, run, reading.tasks
        self.place = place or Place(processes(cfg))
        if self.place.world_size() > 1:
            config = {**config, "engine": share(config)}
        accumulated = cfg.trainer.get("accumulate_grad_batches", 1)  # batches a step
        self.module = build_module(cfg, config, reading)
        self.data = EpisodeData(tasks, seed=cfg.seed, steps=cfg.steps * accumulated, meta_batch=cfg.meta_batch,
                                validation=cfg.episodes.validation, test=cfg.episodes.test,
                                names=self.module.learner.reads_names)  # fmt: skip
        if self.module.learner.training != "none":
            self.module.engine.stacks(self.module.params, self.module.vmaps)  # refuses what cannot be batched so
        try:
            self.module.configure_optimizers()
        except ValueError as error:
            raise UserError(f"optimizer: {error}") from error
        self.keeper = Checkpoint(run, cfg.checkpoint_every, {"commit": commit(), "data": tasks.checksums()})
        self.trainer = build_trainer(
            cfg,
            default_root_dir=str(run.path),
            val_check_interval=cfg.validate_every * accumulated,
            plugins=[WholeFile()],
            enable_checkpointing=False,
            inference_mode=False,  # adapting takes gradients in validation too
            num_sanity_val_steps=0,
            strategy=Shared(cluster_environment=self.place) if self.place.world_size() > 1 else "auto",
            **(HELPER if self.place.global_rank() else self._followers()),
        )

    @property
    def device(self) -> torch.device:
        """Where it trains, and what it trained is judged."""
        return self.trainer.strategy.root_device

    def _followers(self) -> dict[str, Any]:
        """What of a Trainer writes, validates and tells."""
        cfg, run, logger = self.cfg, self.run, instantiate(self.cfg.logger)
        callbacks = [
            MetricsFile(run.metrics, cfg.trainer.log_every_n_steps),
            self.keeper,
            *([Progress()] * cfg.trainer.get("enable_progress_bar", True)),
            *([GradientNorms()] * logger.gradient_norms),
        ]
        return {"callbacks": callbacks, "logger": logger.live(run)}

    def parameters(self) -> dict[str, torch.Tensor]:
        """Train, or what is left of it: the parameters that did best on meta-validation. Fresh ones for a learner that
        is not meta-trained."""
        cfg, keeper, trainer = self.cfg, self.keeper, self.trainer
        if self.module.learner.training == "none":
            keeper.keep_untrained(self.module)  # another run can start from it: fresh parameters, and this tokenizer
            return read_weights(self.run.best, self.device)
        if not self._learns():
            say(
                f"[yellow]Nothing to meta-train[/]: the model is frozen, and [bold]{self.module.learner.label}[/] has "
                "no parameters of its own; it is judged as it is"
            )
            keeper.keep_untrained(self.module)
            return read_weights(self.run.best, self.device)
        at, changed = keeper.resume()
        if changed:
            say("[yellow]Code or data changed[/] since this run was cut: it begins anew")
        if at < cfg.steps:
            say(f"Meta-training [bold]{self.module.learner.label}[/], seed {cfg.seed}" + f", from step {at}" * (at > 0))
            start = keeper.last_path if at else None
            with helped(cfg, self.place, start):
                trainer.fit(self.module, self.data, ckpt_path=start, weights_only=True)
            if trainer.global_step < cfg.steps:
                raise Interrupted(f"stopped at step {trainer.global_step} of {cfg.steps}; {GO_ON}")
        return read_weights(self.run.best, self.device)

    def _learns(self) -> bool:
        """Whether the loss of an episode depends on any parameter."""
        module = self.module
        if module.model.encoder.learns:
            return True
        episode = self.data.tasks.episodes("meta_train", self.cfg.seed, self.data.names)[0]
        return module.engine.depends(module.model, module.params, episode, module.episode_loss, module.order)

    def timed(self) -> dict[str, Any]:
        """By the learner's name: seconds of its meta-training, and [step, seconds, score] of each validation. Empty for
        one that is not meta-trained."""
        if self.module.learner.training == "none":
            return {}
        mine, module = learner_name(self.module.hparams["learner"]), self.module
        drawn, cfg = self.data.tasks.episodes("meta_train", self.cfg.seed, self.data.names), self.cfg
        tasks = cfg.meta_batch * cfg.trainer.get("accumulate_grad_batches", 1)  # a step
        some = [drawn[i] for i in range(COUNTED)]
        one = flops(module.model, module.params, some, module.episode_loss) if self._learns() else 0.0
        return {mine: {"seconds": self.keeper.seconds, "history": self.keeper.history, "flops_per_step": tasks * one}}


def build_trainer(cfg: DictConfig, **more: Any) -> pl.Trainer:
    try:
        return instantiate(cfg.trainer, **more)
    except InstantiationException as error:
        if isinstance(error.__cause__, MisconfigurationException):
            raise UserError(f"trainer: {error.__cause__}") from error
        raise


def share(config: Mapping[str, Any]) -> dict[str, Any]:
    """`engine` for one of several processes: where it leaves the threads open, they share the cores."""
    count = config["trainer"]["devices"]
    return {**config["engine"], "threads": config["engine"]["threads"] or max(1, cores() // count)}


def build_module(cfg: DictConfig, config: Mapping[str, Any], reading: Reading) -> SharedParameterModule:
    tasks = reading.tasks
    kind = MetaLearnerModule if build(config["learner"]).training == "meta" else SharedParameterModule
    encoder, heads = encoder_config(config), tasks.heads()
    module = kind(encoder, heads, config["learner"], config["optimizer"], cfg.seed, **config["engine"])
    if reading.start:
        reading.start.give(module.model)
    whole = [task for split in tasks.splits.values() for task in split if not task.problem.of_tokens]
    texts = dict.fromkeys(text for task in whole for text in task.texts)  # of others, features are of single tokens
    if any(build(each).reads_names for each in learners(config).values()):
        texts |= dict.fromkeys(name for split in tasks.splits.values() for task in split for name in task.names or ())
    if found := module.prepare(reading.tokenizer, list(texts)):
        say(f"  {found}")
    module.learner.fit(tasks.labelled("meta_train"))
    return module
