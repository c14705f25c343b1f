"""Many configs fast: each distinct choice of groups is composed by Hydra once, single values are set on a copy."""

import contextlib
import logging
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from metalingua.composition import fails, in_words
from metalingua.error import UserError


class Composer:
    """What `python train.py WORDS` would run. Use inside `composer`."""

    def __init__(self, conf: Path) -> None:
        self._conf = conf
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        self._loader = hydra.config_loader
        self._parser = OverridesParser.create(config_loader=self._loader)
        self._groups: dict[str, bool] = {}
        self._bases: dict[tuple[str, ...], bytes] = {}  # pickled: OmegaConf copies faster so

    def __call__(self, words: Sequence[str]) -> DictConfig:
        """The config of `words`, equal to Hydra's own. Raises UserError with Hydra's reason."""
        try:
            overrides = self._parser.parse_overrides(list(words))
            if hydra := [each.input_line for each in overrides if each.is_hydra_override()]:
                raise UserError(f"{hydra[0]} is about launching and no part of a run: leave it out")
            groups: list[Override] = []
            values: list[Override] = []
            for each in overrides:
                (groups if self._chooses(each) else values).append(each)
            key = tuple(str(each.input_line) for each in groups)
            if key not in self._bases:
                self._bases[key] = pickle.dumps(hydra_compose("train", list(key)))
            config: DictConfig = pickle.loads(self._bases[key])
            ConfigLoaderImpl._apply_overrides_to_config(values, config)  # as Hydra itself does, after composing
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if not fails(error):
                raise
            raise UserError(f"{' '.join(words)}: {in_words(error, words, self._conf)}") from error
        return config

    def points(self, line: Sequence[str]) -> list[tuple[str, ...]]:
        """The runs of one multirun command line, each its overrides, as Hydra's own sweeper makes them of `a=1,2`,
        `range(0,3)`, `choice(...)`, `glob(*)`. Raises UserError for what Hydra cannot read, and for an empty grid."""
        try:
            found = BasicSweeper.split_arguments(self._parser.parse_overrides(list(line)), None)[0]
        except (HydraException, ValueError) as error:
            raise UserError(f"{' '.join(line)}: {error}") from error
        if not found:
            raise UserError(f"{' '.join(line)}: this grid has no runs: one of its sweeps is empty; give it a value")
        return [tuple(each) for each in found]

    def _chooses(self, override: Override) -> bool:
        """Whether it is of the defaults list, as Hydra tells it: it names a group, and its value is no dict."""
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = self._loader.repository.group_exists(key)  # type: ignore[attr-defined]
        return self._groups[key] and not isinstance(override.value(), dict)


@contextlib.contextmanager
def composer(conf: Path) -> Iterator[Composer]:
    """A Composer of the configs in `conf`. Raises UserError where there is no conf/train.yaml."""
    if not (conf / "train.yaml").is_file():
        raise UserError(f"{conf} has no train.yaml; start from the folder that holds conf/, train.py and experiments/")
    logging.getLogger("hydra").setLevel(logging.ERROR)
    with initialize_config_dir(str(conf.resolve()), version_base="1.3", job_name="train"):
        yield Composer(conf)
