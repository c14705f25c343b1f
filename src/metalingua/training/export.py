"""The encoder of a done run as a folder that transformers' AutoModel and AutoTokenizer load."""

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from tokenizers import Tokenizer

from metalingua.error import UserError
from metalingua.model.model import Encoder
from metalingua.result.identity import best_checkpoint, config_of, encoder_config
from metalingua.result.run import RunDirectory, unwritable
from metalingua.training.checkpoint import read_weights
from metalingua.training.learners import build

SPECIAL = {  # what transformers calls them, to how they may be spelled
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "mask_token": ("[MASK]", "<mask>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
}


def export(run: Path, folder: Path) -> list[str]:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json of the run's encoder, with the
    parameters that were tested; heads, and layers that a learner adds, are not of it. All of the folder or nothing.

    Returns what the person at the terminal should know of it. Raises UserError: for what is no done run, an encoder
    that transformers does not have, a folder with something in it, and a disk that refuses.
    """
    best = best_checkpoint(str(run), "RUN")
    config: Any = OmegaConf.to_container(config_of(str(run), "RUN"))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and not empty; name a folder that is not, or remove it")
    encoder: Encoder = instantiate(encoder_config(config), _convert_="all")
    weights = read_weights(best)
    params = {name.removeprefix("encoder."): v for name, v in weights.items() if name.startswith("encoder.")}
    model = encoder.exported(params)
    tokenizer = _tokenizer(RunDirectory(run).tokenizer, config["task"]["max_length"])
    folder = Path(os.path.abspath(folder))
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        os.replace(partial, folder)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:  # another export was faster
            raise UserError(f"{folder} is there and not empty; name a folder that is not, or remove it") from error
        raise unwritable(folder, error) from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(partial, ignore_errors=True)
    told = [str(folder)]
    if build(config["learner"]).own_layers:
        told.append(f"without the layers that {config['learner']['label']} put between its own")
    return told


def _tokenizer(path: Path, max_length: int) -> Any:
    """As transformers has it, a PreTrainedTokenizerFast."""
    from transformers import PreTrainedTokenizerFast

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise UserError(f"{path} cannot be read: {error}; do the run again (rerun=true)") from error
    known = tokenizer.get_vocab()
    found = {role: next((each for each in spelled if each in known), None) for role, spelled in SPECIAL.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{role: each for role, each in found.items() if each is not None},
    )
