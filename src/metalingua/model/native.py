"""The loops of `metalingua.model.loops` in C, where this machine has a C compiler: same arguments, same results but for
rounding. Each step's elementwise part is one pass, where torch makes 4 to 6 small operations of 2 us each, and products
of few rows read weights packed once for all steps: 10 texts of 64 tokens, H = 128, take 0.5 ms of products where MKL
takes 0.8. Second-order MAML of five steps on such a support set: 150 ms against 100.

ctypes gives up the interpreter's lock for a call, so that two tasks in two threads do not wait for each other.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from metalingua.model.loops import add_before, before

SOURCE = Path(__file__).with_name("native.c")
_FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fPIC"]
# tried in turn: what not every compiler or processor knows is left out
_TUNED = [["-march=native", "-mprefer-vector-width=512"], ["-march=native"], ["-mcpu=native"], []]
_REALS = {torch.float32: [], torch.float64: ["-DDOUBLE"]}
_compiling = threading.Lock()
_here = threading.local()
ROOM = 96  # rows that the recurrent weight's gradient takes at once, if three steps have not more


def serves(x: Tensor, hidden: int) -> bool:
    """Whether the functions below take `x` and its like: whole columns of two vectors, of 16 numbers at most."""
    if x.device.type != "cpu" or x.dtype not in _REALS or hidden % 32 or getattr(_here, "aside", False):
        return False
    return library(x.dtype) is not None


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """In this thread, the loops in torch: theirs are products that torch sees and can count."""
    before = getattr(_here, "aside", False)
    _here.aside = True
    try:
        yield
    finally:
        _here.aside = before


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """native.c for numbers of `dtype`; None where it cannot be compiled. That takes a second, once: it is kept in
    `folder()` for this source, compiler and processor."""
    with _compiling:
        return _library(dtype)


@cache
def _library(dtype: torch.dtype) -> ctypes.CDLL | None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with contextlib.suppress(OSError):  # a folder that cannot be written, a file that is not whole
        return _kept(compiler, dtype)
    with tempfile.TemporaryDirectory() as folder:
        return _compiled(compiler, dtype, Path(folder) / "native.so")


def folder() -> Path:
    """Where what is compiled is kept: metalingua in the user's folder for caches (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metalingua"


def _kept(compiler: str, dtype: torch.dtype) -> ctypes.CDLL | None:
    """Of an earlier process, or compiled now and kept. Raises OSError where that cannot be."""
    about = os.stat(compiler)
    made_of = [SOURCE.read_text(), _FLAGS, _TUNED, str(dtype), compiler, about.st_size, about.st_mtime, _processor()]
    target = folder() / f"native-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}.so"
    if target.exists():
        if target.stat().st_uid != os.getuid() or target.stat().st_mode & 0o022:
            raise PermissionError(f"{target} may be somebody else's")
        return ctypes.CDLL(str(target))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        found = _compiled(compiler, dtype, part)
        if found is not None:
            part.chmod(0o700)
            part.replace(target)  # whole or not at all
    finally:
        part.unlink(missing_ok=True)
    return found


def _processor() -> str:
    """What a processor can do: a home folder may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))


def _compiled(compiler: str, dtype: torch.dtype, target: Path) -> ctypes.CDLL | None:
    for tuned in _TUNED:
        command = [compiler, *_FLAGS, *tuned, *_REALS[dtype], str(SOURCE), "-o", str(target)]
        try:
            if subprocess.run(command, capture_output=True, timeout=60).returncode == 0:
                return ctypes.CDLL(str(target))
        except (OSError, subprocess.TimeoutExpired):
            return None
    return None


def forward(x: Tensor, place: Tensor, weight: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h, c [rows, H], gates [rows, 4H] and tanh c."""
    hidden = weight.shape[1]
    gates, h = x.new_empty(len(place), 4 * hidden), x.new_empty(len(place), hidden)
    c, tanh_c = torch.empty_like(h), torch.empty_like(h)
    _call("forward", sizes, hidden, _along_columns(weight), _zeros(x), place, x, gates, h, c, tanh_c)
    return h, c, gates, tanh_c


def gradient(
    h_out: Tensor | None,
    c_out: Tensor | None,
    a_out: Tensor | None,
    place: Tensor,
    weight: Tensor,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    tanh_c: Tensor,
    words: int,
    sizes: list[int],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x' [words, 4H], W', a' [rows, 4H], h' and c' [rows, H]; without the last three, which only a second derivative
    needs, unless `keep`."""
    hidden, room, rows = weight.shape[1], max(3 * sizes[0], ROOM), len(h) if keep else 2 * sizes[0]
    dx, dweight = gates.new_empty(words, 4 * hidden), gates.new_zeros(4 * hidden, hidden)
    da, past = gates.new_empty(len(h) if keep else room, 4 * hidden), gates.new_empty(room, hidden)
    dh, dc, seen = (
        gates.new_empty(rows, hidden),
        gates.new_empty(rows, hidden),
        place.new_zeros(words, dtype=torch.uint8),
    )
    along_rows = weight.reshape(4 * hidden, -1, _width(weight.dtype)).transpose(0, 1)
    given = [_zeros(gates), place, h_out, c_out, a_out, h, c, gates, tanh_c, words, seen, room, past]
    _call("gradient", sizes, hidden, along_rows, int(keep), *given, dx, dweight, da, dh, dc)
    return (dx, dweight, da, dh, dc) if keep else (dx, dweight, *gates.new_empty(3, 0))


def gradient_of_gradient(
    x_out: Tensor | None,
    weight_out: Tensor | None,
    place: Tensor,
    weight: Tensor,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    tanh_c: Tensor,
    da: Tensor,
    dh: Tensor,
    dc: Tensor,
    sizes: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Cotangents of H' [rows, H], W [4H, H], h, c [rows, H] and a [rows, 4H]."""
    items, hidden = sizes[0], weight.shape[1]
    a, h_out = torch.zeros_like(da), torch.zeros_like(dh)
    if weight_out is not None:
        torch.mm(before(h, sizes), weight_out.t(), out=a[items:])
        add_before(h_out, torch.mm(da[items:], weight_out), sizes)
    p, c_out, q, spare = torch.empty_like(dh), torch.empty_like(dc), dc.new_empty(2, items, hidden), _zeros(dc)
    given = [_zeros(gates), place, x_out, c, gates, tanh_c, da, dh, dc]
    _call("gradient_of_gradient", sizes, hidden, _along_columns(weight), *given, q, spare, a, p, c_out)
    return p, torch.mm(da[items:].t(), before(p, sizes)), h_out, c_out, a


def _call(name: str, sizes: list[int], hidden: int, weight: Tensor, *others: Tensor | int | None) -> None:
    """The function `name` of native.c. Its results are among `others`: new tensors, so never copied here."""
    found = library(weight.dtype)
    assert found is not None  # `serves` said so
    whole = [z.contiguous() if isinstance(z, Tensor) else z for z in (weight, *others)]  # alive until the call is over
    given = [
        ctypes.c_int64(z) if isinstance(z, int) else ctypes.c_void_p(None if z is None else z.data_ptr()) for z in whole
    ]
    getattr(found, name)(
        ctypes.c_int64(len(sizes)), (ctypes.c_int64 * len(sizes))(*sizes), ctypes.c_int64(hidden), *given
    )


def _width(dtype: torch.dtype) -> int:
    found = library(dtype)
    assert found is not None
    return int(found.width())


def _along_columns(weight: Tensor) -> Tensor:
    """W^T in columns of the product's width, [4H / width, H, width]."""
    return weight.reshape(-1, _width(weight.dtype), weight.shape[1]).transpose(1, 2)


def _zeros(like: Tensor) -> Tensor:
    return like.new_zeros(like.shape[1])
