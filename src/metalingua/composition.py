"""What Hydra cannot compose, in a line or two."""

import difflib
import re

from hydra.errors import MissingConfigException

SHORT = 12  # names that fit a line


def in_words(error: Exception) -> str:
    """What a person is told of `error`: Hydra's own reason, without its search path and its column of names."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _not_there(error.missing_cfg_file, list(error.options), str(error))
    return str(error).partition("\nConfig search path:")[0].rstrip()


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
