"""What Hydra cannot compose, in a line or two."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

SHORT = 12  # names that fit a line
NO_NAME = "Config group override must be"  # of learner=null; Hydra raises a bare ValueError, without the word


def fails(error: Exception) -> bool:
    """Whether `error` is of composing a config; a bug is not."""
    return isinstance(error, HydraException | OmegaConfBaseException) or str(error).startswith(NO_NAME)


def in_words(error: Exception, words: Sequence[str], conf: Path) -> str:
    """What a person who gave `words` is told of `error`: Hydra's own reason, without its search path and its column of
    names."""
    if str(error).startswith(NO_NAME):
        unknown = f"{error}; name one of the group's files, `python train.py --help` lists them"
        return next(filter(None, (_no_name(word, conf) for word in words)), unknown)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _not_there(error.missing_cfg_file, list(error.options), str(error))
    return str(error).partition("\nConfig search path:")[0].rstrip()


def _no_name(word: str, conf: Path) -> str:
    """What is wrong with `word` if it gives a group of `conf` something that is no name; else empty."""
    key, _, values = word.lstrip("+").partition("=")
    group, at, _ = key.partition("@")
    wrong = [each for each in values.split(",") if re.fullmatch(r"null|true|false|[-+]?\d[\d.e_+-]*", each, re.I)]
    if not wrong or not (conf / group).is_dir():
        return ""
    without = f"'~{key}' takes out what is chosen there" if at else f"without {key} it is as in conf/train.yaml"
    return f"{word}: {wrong[0]} names no file of conf/{group}\n{key}=NAME chooses one; {without}"


def _not_there(file: str, options: list[str], said: str) -> str:
    """
    file  group/name, without .yaml
    said  by Hydra: In 'experiment/mine': Could not find 'model/lstmm'
    """
    group, _, name = file.rpartition("/")
    asks = re.match(r"In '(experiment/.+?)':", said)
    by = f", which conf/{asks[1]}.yaml asks for" if asks else ""
    first = f"{group}={name}: Could not find '{file}'{by}"
    if len(options) <= SHORT:
        return f"{first}\nThere is {', '.join(options)}"
    close = near(name, options)
    nearest = f"nearest: {', '.join(close)}; " if close else ""
    return f"{first}\nThere are {len(options)}; {nearest}`python train.py --help` lists them"


def near(name: str, options: list[str], most: int = 5) -> list[str]:
    """Those that are spelt like `name`, then those that begin with it: tweets, tweets_to_products."""
    alike = difflib.get_close_matches(name, options, most)
    return list(dict.fromkeys([*alike, *(each for each in options if each.startswith(name))]))[:most]
