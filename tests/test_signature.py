import sys
import textwrap

import pytest

from metalingua.signature import NoTarget, read

FILES = {
    "__init__.py": """
        from .inner import Renamed as Shown
        from .stars import *
        from . import inner
        Alias = Shown
        Loop = Loop
    """,
    "inner.py": """
        from __future__ import annotations
        import dataclasses as dc
        from abc import ABC, abstractmethod
        from dataclasses import KW_ONLY, dataclass, field
        from typing import ClassVar, Generic, TypeVar, overload
        import json.decoder as other
        T = TypeVar("T")

        class Renamed(ABC):
            def __init__(self, steps: int, /, rate: float = 0.1, *, order: "Annotated[int, OneOf(1, 2)]"): ...

        class Child(Renamed, Generic[T]):
            @classmethod
            def load(cls, path: str): ...
            @staticmethod
            def size(width, height=1): ...
            class Part:
                def __init__(self, part): ...

        class Plain: ...
        class Foreign(other.JSONDecoder): ...
        class Builtin(dict): ...
        class Anything:
            @overload
            def __init__(self, a): ...
            def __init__(self, *args, **kwargs): ...

        @dataclass(frozen=True)
        class Base:
            kind: ClassVar[str] = "x"
            low: float
            high: float = 1.0

        @dc.dataclass
        class Fields(Base):
            names: list[str] = field(default_factory=list)
            cache: dict = field(init=False, default_factory=dict)
            _: KW_ONLY
            must: int = field(kw_only=True)

        class Heir(Fields): ...

        def outer(value, *rest, scale=2.0, **options): ...
        made = outer.__get__(1)
    """,
    "stars.py": """
        try:
            import nowhere_at_all
        except ImportError:
            class Starred:
                def __init__(self, star=1): ...
    """,
    "lazy.py": "def __getattr__(name): ...\n",
    "broken.py": "def f(:\n",
    "case.py": "class Case: ...\n",
    "loose/deep.py": "class Deep:\n    def __init__(self, depth): ...\n",
}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("path")
    for name, text in FILES.items():
        file = folder / "signature_sample" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    assert "signature_sample" not in sys.modules  # read, never imported


@pytest.mark.parametrize(
    ("target", "required", "optional", "takes_more"),
    [
        ("inner.Renamed", "steps order", "rate", False),
        ("Shown", "steps order", "rate", False),  # re-exported under another name
        ("Alias", "steps order", "rate", False),
        ("inner.Child", "steps order", "rate", False),  # the base's constructor
        ("inner.Child.load", "path", "", False),
        ("inner.Child.size", "width", "height", False),
        ("inner.Child.Part", "part", "", False),
        ("inner.Plain", "", "", False),
        ("inner.Foreign", "", "object_hook parse_float parse_int parse_constant strict object_pairs_hook", False),
        ("inner.Builtin", "", "", True),
        ("inner.Anything", "", "", True),  # the overload is not the constructor
        ("inner.Base", "low", "high", False),
        ("inner.Fields", "low must", "high names", False),
        ("inner.Heir", "low must", "high names", False),
        ("inner.outer", "value", "scale", True),
        ("inner.made", "", "", True),  # made while it runs: the source does not say
        (
            "inner.other.JSONDecoder",
            "",
            "object_hook parse_float parse_int parse_constant strict object_pairs_hook",
            False,
        ),
        ("Starred", "", "star", False),
        ("lazy.anything", "", "", True),
        ("loose.deep.Deep", "depth", "", False),  # a folder without __init__.py
        ("Loop", "", "", True),
    ],
)
def test_arguments(target, required, optional, takes_more):
    found = read(f"signature_sample.{target}")
    assert {name for name, one in found.arguments.items() if one.required} == set(required.split())
    assert {name for name, one in found.arguments.items() if not one.required} == set(optional.split())
    assert found.open is takes_more


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("signature_sample.inner.Renamd", "signature_sample.inner has no Renamd"),
        ("signature_sample.iner.Renamed", "signature_sample has no iner"),
        ("signature_sample.lazy.missing.Thing", "signature_sample.lazy has no missing"),
        ("signature_sample.Case.Case", "signature_sample has no Case"),  # on a Mac too, where Case.py is case.py
        ("signature_sample.inner", "signature_sample.inner is a module"),
        ("signature_sample.inner.Plain.load", "signature_sample.inner.Plain has no load"),
        ("signature_sample.inner.outer.more", "outer is a function"),
        ("signature_sample.broken.f", r"broken\.py, line 1, is not Python"),
        ("signature_sampel.inner.Renamed", "no package signature_sampel is installed"),
        (".Renamed", "no package  is installed"),
    ],
)
def test_paths_that_lead_nowhere(target, reason):
    with pytest.raises(NoTarget, match=reason):
        read(target)


def test_known_names_help_to_correct_a_typo():
    with pytest.raises(NoTarget) as gap:
        read("signature_sample.inner.Renamd")
    assert "Renamed" in gap.value.known
    with pytest.raises(NoTarget) as gap:
        read("signature_sample.iner.Renamed")
    assert "inner" in gap.value.known


def test_an_edited_file_is_read_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "signature_edited.py").write_text("def f(a): ...")
    assert list(read("signature_edited.f").arguments) == ["a"]
    (tmp_path / "signature_edited.py").write_text("def f(bb): ...")
    assert list(read("signature_edited.f").arguments) == ["bb"]


@pytest.mark.parametrize(
    ("target", "some"),
    [
        ("torch.optim.Adam", "params lr betas weight_decay"),
        ("torch.optim.AdamW", "params lr betas weight_decay"),
        ("torch.optim.SGD", "params lr momentum nesterov"),
        ("torch.optim.lr_scheduler.StepLR", "optimizer step_size gamma"),
        ("torch.nn.Linear", "in_features out_features bias"),
        ("torch.utils.data.DataLoader", "dataset batch_size"),
        ("torch.nn.functional.relu", "input inplace"),
        ("pytorch_lightning.Trainer", "max_epochs accelerator inference_mode profiler"),
        ("pytorch_lightning.callbacks.ModelCheckpoint", "dirpath monitor save_top_k"),
        ("pytorch_lightning.loggers.WandbLogger", "project offline"),
    ],
)
def test_real_packages(target, some):
    assert set(some.split()) <= set(read(target).arguments)


@pytest.mark.parametrize("target", ["torch.optim.Adma", "torch.optm.Adam", "pytorch_lightning.Trianer"])
def test_typos_in_real_packages(target):
    with pytest.raises(NoTarget):
        read(target)
