"""logger=tensorboard: scalars of meta-training for TensorBoard; all else is in the run's own files."""

from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.loggers.logger import Logger

from metalingua.error import UserError
from metalingua.result.run import RunDirectory


class TensorBoard:
    """What conf/logger/tensorboard.yaml builds: `tensorboard --logdir outputs` shows every run that has it."""

    def __init__(self, folder: str = "tensorboard", gradient_norms: bool = False):
        """
        folder          within the run's own
        gradient_norms  as of logger=wandb
        """
        self.folder, self.gradient_norms = folder, gradient_norms

    def live(self, run: RunDirectory) -> list[Logger]:
        try:
            return [TensorBoardLogger(save_dir=run.path, name=self.folder, version="")]
        except ModuleNotFoundError as error:
            raise UserError(f"logger=tensorboard: {error}; pip install tensorboardX, or take another logger") from error

    def failed(self, run: RunDirectory, config: dict[str, Any]) -> None:
        """Nothing to say: it has no state of runs."""

    def finish(self, run: RunDirectory, config: dict[str, Any]) -> None:
        """Nothing more: it followed the training."""
