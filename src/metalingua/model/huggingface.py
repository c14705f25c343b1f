"""A pretrained encoder, as transformers' AutoModel builds it: frozen, or tuned in part or as a whole."""

import copy
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from metalingua.error import UserError
from metalingua.limit import AtLeast, OneOf, limited
from metalingua.model.derivative import derivatives, order
from metalingua.model.entry import Entry, entering
from metalingua.model.frozen import FrozenFeatures, Item, batches
from metalingua.model.model import Encoder, Params
from metalingua.model.states import FrozenStates
from metalingua.text.batch import Inputs, pad, taken
from metalingua.text.pretrained import Source, read_tokenizer
from metalingua.text.tokenizer import Tokenizer

SCHEMA = 1  # part of the key of kept features: raise it when the same settings would give others
TABLE = "embedding.weight"  # what the word table is called among what is learned, whatever the model calls it
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_STATES: dict[tuple[str, str], FrozenStates] = {}  # of all encoders of a process, by their files and dtype
AT_ONCE = 256  # tokens of texts that are read together on a CPU, padding included
LORA = "lora_"  # in the name of every parameter that peft adds


class PretrainedEncoder(Encoder):
    """Tokens -> a pretrained model -> one vector a text, or a token, without dropout.

    What conf/model/minilm.yaml and huggingface.yaml build.

    source      where config.json, tokenizer.json and *.safetensors lie; nothing is read before it is needed
    tuning      what is learned: "frozen" nothing, and features are worked out once and kept; "last_layers" the upper
                `layers` (on CPUs the states that enter them are kept, in memory, of every text that was read); "lora"
                low-rank additions (Hu et al. 2022, arXiv:2106.09685) of rank `lora_rank` to the matrices that peft
                names for the kind of model; "full" everything
    pooling     "mean" of the last states over real tokens; "cls": the first token's state
    normalize   features of length 1
    dtype       of the forward of frozen features. bfloat16 is about twice as fast where the CPU has it, and moves a
                feature of MiniLM by at most 2 % of the largest one
    max_length  tokens of the longest text
    cache       a folder: frozen features, under features/

    All that is not learned is one set of tensors for all threads and encoders of a process; nobody writes to it.
    Second derivatives are taken with attention written out ("eager"): fused kernels have none.

    Raises ValueError, naming the config key, for a setting that cannot be. What the files cannot give is a UserError.
    """

    derivatives = 2
    of_tokens = True
    vmaps = False  # lengths decide shapes, and frozen features are looked up by what was read

    @limited("model")
    def __init__(
        self,
        source: Source,
        tuning: Annotated[str, OneOf("frozen", "last_layers", "lora", "full")],
        layers: Annotated[int, AtLeast(1)],
        lora_rank: Annotated[int, AtLeast(1)],
        pooling: Annotated[str, OneOf("mean", "cls")],
        normalize: bool,
        dtype: Annotated[str, OneOf("float32", "bfloat16")],
        max_length: Annotated[int, AtLeast(1)],
        cache: str,
    ):
        if dtype != "float32" and tuning != "frozen":
            raise ValueError(
                f"model.dtype is {dtype} and model.tuning is {tuning}: what is tuned is float32; "
                "set model.dtype=float32"
            )
        self.source, self.tuning, self.layers, self.lora_rank = source, tuning, layers, lora_rank
        self.pooling, self.normalize, self.max_length = pooling, normalize, max_length
        self.dtype, self.cache = getattr(torch, dtype), Path(cache)
        self.rows, self.learns = TABLE if tuning == "full" else "", tuning != "frozen"
        self._copies: dict[tuple[torch.device, torch.dtype], nn.Module] = {}
        self._copying = threading.Lock()
        self._shells = threading.local()

    @property
    def size(self) -> int:  # type: ignore[override]
        return self._files[1].hidden_size

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        """Refuse a tokenizer that is not the model's; work out the features of all texts if they are frozen."""
        self._require(tokenizer)
        if self.dtype == torch.bfloat16 and not _has_bfloat16():
            raise UserError("model.dtype is bfloat16, and this CPU has no instructions for it: set model.dtype=float32")
        try:
            self._encode([np.zeros(self.max_length, dtype=np.int32)])
        except (IndexError, RuntimeError) as error:
            raise UserError(
                f"task.max_length is {self.max_length}: the model of {self.source} has no positions for so many tokens "
                f"({getattr(self._files[1], 'max_position_embeddings', 'fewer')}); set a lower task.max_length"
            ) from error
        if self.tuning == "frozen" and texts:
            self._frozen.fill([np.asarray(ids) for ids in tokenizer.encode(list(texts), self.max_length)])
        below = self.tuning == "last_layers" and self.layers < len(self._stack()[1])
        if below and self._entry(torch.device("cpu")) is None:
            return "This kind of model cannot be entered at its tuned layers: those below run at every step too"
        return None

    def init(self, generator: torch.Generator) -> Params:
        """What is learned, as it was pretrained. LoRA's additions start at zero: A as torch.nn.Linear, B at 0."""
        fresh = {}
        for name, inner in self._learned.items():
            value = self._base.get_parameter(inner).detach().clone()
            if f".{LORA}A." in inner:
                bound = value.shape[1] ** -0.5
                value.uniform_(-bound, bound, generator=generator)
            elif f".{LORA}B." in inner:
                value.zero_()
            fresh[name] = value
        return fresh

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """One vector a text, [items, size].

        inputs.tokens   [items, length] int64, rows of params["embedding.weight"] where that is learned
        inputs.lengths  [items] int64, real tokens a text, 1 or more
        """
        lengths = inputs.lengths
        if self.tuning == "frozen":
            ids = inputs.token_ids.cpu().numpy()
            read = [row[:length] for row, length in zip(ids, lengths.tolist(), strict=True)]
            return self._frozen.features(read).to(lengths.device)
        return self._pooled(self._states(params, inputs), lengths)

    def token_features(self, params: Params, inputs: Inputs) -> Tensor:
        """The last state of each token, [items, length of the longest, size]; of length 1 where texts' features are.

        Where `inputs.second` says so and the model tells first from second parts, as BERT does, it is told.
        """
        if self.tuning == "frozen":
            found = self._frozen_states.rows(inputs, self.size).to(inputs.lengths.device)
        else:
            found = self._states(params, inputs)
        return F.normalize(found, dim=2) if self.normalize else found

    def _states(self, params: Params, inputs: Inputs) -> Tensor:
        """The last states [items, longest, size], of the dtype that the model runs in; on a CPU, where padding costs
        as much as text, those of like lengths together."""
        if inputs.lengths.device.type == "cpu" and len(parts := [*batches(inputs.lengths.tolist(), AT_ONCE)]) > 1:
            inputs = replace(inputs, at=None)
            longest, places = int(inputs.lengths.max()), torch.tensor([i for part in parts for i in part])
            each = [self._states_together(params, taken(inputs, torch.tensor(part))) for part in parts]
            whole = [F.pad(states, (0, 0, 0, longest - states.shape[1])) for states in each]
            return torch.cat(whole)[places.argsort()]
        return self._states_together(params, inputs)

    def _states_together(self, params: Params, inputs: Inputs) -> Tensor:
        given = self._given(params, inputs)
        tuned = {self._learned[name]: value for name, value in params.items() if name != self.rows}
        device, dtype = inputs.lengths.device, self.dtype if self.tuning == "frozen" else torch.float32
        if entry := self._entry(device):
            return entry(tuned, given, self._states_below.rows(inputs, self.size))
        return functional_call(self._shell(device, dtype), tuned, (), given).last_hidden_state

    def _given(self, params: Params, inputs: Inputs) -> dict[str, Tensor]:
        """What the model's forward is called with."""
        lengths, longest = inputs.lengths, int(inputs.lengths.max())
        given: dict[str, Tensor]
        if TABLE in params:  # it has the rows of this episode alone, so the model's own look-up will not do
            given = {"inputs_embeds": F.embedding(inputs.tokens[:, :longest], params[TABLE])}
        else:
            given = {"input_ids": inputs.token_ids[:, :longest]}
        if inputs.second is not None and getattr(self._files[1], "type_vocab_size", 0) == 2:
            place = torch.arange(longest, device=lengths.device)
            given["token_type_ids"] = (place >= inputs.second.unsqueeze(1)).long()
        return {**given, "attention_mask": _real(lengths, longest)}

    def keep(self, inputs: Inputs) -> None:
        if self._entry(inputs.lengths.device):
            self._states_below.rows(inputs, self.size)
        super().keep(inputs)

    def exported(self, params: Params) -> Any:
        if self.tuning == "frozen":
            raise UserError(
                f"model.tuning is frozen: nothing of the model was trained, and {self.source} has its files; set "
                "model.tuning to last_layers, lora or full to train some of it"
            )
        model, found = _loaded(self._files[0])
        for name in found["missing_keys"]:  # of the pooler: not random, which it would be anew at every loading
            model.get_parameter(name).data.zero_()
        if self.tuning == "lora":
            self._add_lora(model)
        for name, value in params.items():
            model.get_parameter(self._learned[name]).data.copy_(value)
        for name, module in [*model.named_modules()] if self.tuning == "lora" else []:
            if hasattr(module, "get_base_layer"):
                module.merge()
                model.set_submodule(name, module.get_base_layer())
        return model

    def _pooled(self, states: Tensor, lengths: Tensor) -> Tensor:
        """[items, size] float32 or more, of the last states [items, length, size]."""
        states = states if states.dtype == torch.float64 else states.float()
        if self.pooling == "cls":
            features = states[:, 0]
        else:
            real = _real(lengths, states.shape[1]).unsqueeze(2).to(states.dtype)
            features = (states * real).sum(1) / lengths.unsqueeze(1)
        return F.normalize(features, dim=1) if self.normalize else features

    def _encode(self, items: Sequence[Item]) -> np.ndarray:
        """Frozen features, [items, size] float32, of token ids."""
        inputs = pad([np.asarray(item) for item in items], [""] * len(items))
        with _whoever_asks():
            return self._pooled(self._states_together({}, inputs), inputs.lengths).numpy()

    def _states_of(self, ids: np.ndarray, second: int | None) -> Tensor:
        """[length, size], of one text that a frozen model reads."""
        part = None if second is None else torch.tensor([second])
        with _whoever_asks():
            return self._states({}, replace(pad([ids], [""]), second=part))[0]

    def _states_below_of(self, ids: np.ndarray, second: int | None) -> Tensor:
        """[length, size], what enters the lowest tuned layer, of one text."""
        part = None if second is None else torch.tensor([second])
        at, stack = self._stack()
        given = self._given({}, replace(pad([ids], [""]), second=part))
        with _whoever_asks():
            shell = self._shell(torch.device("cpu"), torch.float32)
            return entering(shell, f"{at}.{len(stack) - self.layers}", given)[0]

    @cached_property
    def _files(self) -> tuple[Path, Any]:
        """The folder, and the model's config."""
        folder = self.source.folder()
        return folder, _config(folder)

    @cached_property
    def _base(self) -> nn.Module:
        """The model, with what `tuning` adds; its tensors are those of every other encoder of the same files."""
        base = _shared_copy(_model(self._files[0], _stamp(self._files[0])))
        if self.tuning == "lora":
            self._add_lora(base)
        return base.eval().requires_grad_(False)

    def _add_lora(self, model: nn.Module) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        try:
            inject_adapter_in_model(LoraConfig(r=self.lora_rank, lora_alpha=self.lora_rank), model)
        except ValueError as error:
            raise UserError(
                f"model.tuning is lora, and peft knows no matrices of this kind of model to add to ({error}); "
                "set model.tuning to last_layers, full or frozen"
            ) from error

    @cached_property
    def _learned(self) -> dict[str, str]:
        """Names of what is learned, to the model's own."""
        names = [name for name, _ in self._base.named_parameters()] if self.tuning != "frozen" else []
        if self.tuning == "lora":
            names = [name for name in names if f".{LORA}" in name]
        elif self.tuning == "last_layers":
            at, stack = self._stack()
            if self.layers > len(stack):
                raise UserError(
                    f"model.layers is {self.layers}: the model of {self.source} has {len(stack)} layers; "
                    f"set model.layers to {len(stack)} or fewer"
                )
            upper = tuple(f"{at}.{i}." for i in range(len(stack) - self.layers, len(stack)))
            names = [name for name in names if name.startswith(upper)]
        elif self.tuning == "full":
            table = self._base.get_input_embeddings().weight  # type: ignore[operator]
            return {TABLE if self._base.get_parameter(name) is table else name: name for name in names}
        return {name: name for name in names}

    def _stack(self) -> tuple[str, nn.ModuleList]:
        """Name and modules of the model's layers."""
        count = self._files[1].num_hidden_layers
        for name, module in self._base.named_modules():
            if isinstance(module, nn.ModuleList) and len(module) == count:
                return name, module
        raise UserError(
            f"model.tuning is last_layers, and the model of {self.source} has no list of its {count} layers; "
            "set model.tuning to lora, full or frozen"
        )

    @cached_property
    def _frozen(self) -> FrozenFeatures:
        settings = [SCHEMA, _checksum(self._files[0]), self.pooling, self.normalize, str(self.dtype)]
        key = blake2b(json.dumps(settings).encode(), digest_size=8).hexdigest()
        return FrozenFeatures(self.cache / "features" / key, self.size, self._encode)

    @cached_property
    def _frozen_states(self) -> FrozenStates:
        return _STATES.setdefault((_checksum(self._files[0]), str(self.dtype)), FrozenStates(self._states_of))

    @cached_property
    def _states_below(self) -> FrozenStates:
        """States that enter the lowest tuned layer, as they are: rounded to float16, training would not be the same."""
        return _STATES.setdefault(
            (_checksum(self._files[0]), f"below {self.layers}"), FrozenStates(self._states_below_of, torch.float32)
        )

    def _shell(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The model's modules for this thread alone, around the tensors of all: functional_call swaps tensors in the
        modules while it runs."""
        key = f"{device} {dtype} {order()}"
        if key not in self._shells.__dict__:
            self._shells.__dict__[key] = self._new_shell(device, dtype)
        return self._shells.__dict__[key]

    def _entry(self, device: torch.device) -> Entry | None:
        """This thread's tuned layers alone, on a CPU, where only upper layers are tuned and the model can be entered at
        them. A GPU is faster at all layers than at fetching what is kept."""
        if device.type != "cpu" or self.tuning != "last_layers":
            return None
        key = f"entry {order()}"
        if key not in self._shells.__dict__:
            entry, (at, stack) = None, self._stack()
            if self.layers < len(stack):
                with suppress(ValueError):
                    shell = self._new_shell(device, torch.float32)
                    entry = Entry(shell, at, len(stack) - self.layers)
            self._shells.__dict__[key] = entry
        return self._shells.__dict__[key]

    def _new_shell(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        with self._copying:
            if (device, dtype) not in self._copies:
                same = device.type == "cpu" and dtype == torch.float32
                whole = self._base if same else copy.deepcopy(self._base).to(device, dtype)
                self._copies[device, dtype] = whole
            shell = _shared_copy(self._copies[device, dtype])
        if order() == 2:
            shell.set_attn_implementation("eager")  # type: ignore[operator]
        return shell

    def _require(self, tokenizer: Tokenizer) -> None:
        """Raise UserError unless token ids mean to the model what they mean to the tokenizer."""
        folder, config = self._files
        words = tokenizer.vocabulary
        if (folder / "tokenizer.json").is_file() and words != read_tokenizer(folder).get_vocab():
            raise UserError(
                f"text has a vocabulary of {len(words):,}, and the model of {self.source} reads that of its own "
                "tokenizer.json: set text=pretrained, or choose a model that is trained from scratch, model=lstm"
            )
        if (highest := max(words.values())) >= config.vocab_size:
            raise UserError(
                f"text has token ids up to {highest}, and the model of {self.source} a vocab_size of "
                f"{config.vocab_size}: give the tokenizer that it was trained with (tokenizer.json, text=pretrained)"
            )


@contextmanager
def _whoever_asks() -> Iterator[None]:
    """What is kept is the same bits for all: in the model's own precision and by the same kernels, without slopes."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False), derivatives(1):
        yield


def _real(lengths: Tensor, longest: int) -> Tensor:
    """[items, longest] int64: 1 for tokens, 0 for padding."""
    return (torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)).long()


def _shared_copy(module: nn.Module) -> nn.Module:
    """A copy of the modules around the very same tensors."""
    return copy.deepcopy(module, {id(each): each for each in [*module.parameters(), *module.buffers()]})


def _has_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file of the folder does."""
    files = [folder / "config.json", *_weights(folder)]
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def _checksum(folder: Path) -> str:
    """sha256 over the files that decide the features, hexadecimal."""
    return _checksum_of(folder, _stamp(folder))


@lru_cache(maxsize=4)
def _checksum_of(folder: Path, stamp: object) -> str:
    digest = hashlib.sha256()
    for path in [folder / "config.json", *_weights(folder)]:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _config(folder: Path) -> Any:
    """The model's config. Raises UserError, with a way out, if the folder is not one of an encoder in safetensors."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} has no config.json: name a folder as transformers writes it (model.save_pretrained)")
    if not _weights(folder):
        pickled = [path.name for pattern in PICKLED for path in folder.glob(pattern)]
        if pickled:
            raise UserError(
                f"{folder} has its weights in {', '.join(pickled)} alone, and a pickle can run code: they are not "
                "read. Convert them to safetensors where you trust them: "
                "transformers.AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), then set "
                "model.source.path=NEW_FOLDER"
            )
        raise UserError(f"{folder} has no weights (*.safetensors): get them, or name another folder")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder}/config.json is of no model that transformers knows by itself (code that lies beside weights is "
            f"not run): {str(error).partition(chr(10))[0]}; choose another model"
        ) from error
    if config.is_encoder_decoder:
        raise UserError(f"{folder} has a {config.model_type}, an encoder with a decoder: choose a model of one part")
    return config


def _loaded(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The pretrained model, float32, and what its files lack: nothing but its pooler's numbers. Raises UserError."""
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model, found = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"the weights in {folder} cannot be read: {str(error).partition(chr(10))[0]}; a file may be cut off or of "
            "another model: get them anew"
        ) from error
    kept = {name for name, _ in model.named_parameters() if not name.startswith("pooler.")}
    if lacking := sorted(kept & set(found["missing_keys"])):
        raise UserError(f"the weights in {folder} lack {', '.join(lacking[:3])}: they are of another model; get others")
    return model, found


@lru_cache(maxsize=2)  # runs of one study, and their compared runs, share it
def _model(folder: Path, stamp: object) -> nn.Module:
    """The pretrained model as it is shared by all; `stamp` of the files as they are. Raises UserError."""
    model, _ = _loaded(folder)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # what it gives is not read here
    return model.eval().requires_grad_(False)
