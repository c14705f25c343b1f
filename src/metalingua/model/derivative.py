"""How what runs now will be differentiated: models choose kernels by it, and the inner loop its gradients."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Announced(threading.local):
    order = 1
    transformed = False


_announced = _Announced()


@contextmanager
def derivatives(order: int, transformed: bool = False) -> Iterator[None]:
    """Announce, in this thread only, that what runs inside will be differentiated `order` times: 1 or 2.

    transformed   it runs under a transform of torch.func, where only such transforms can differentiate it

    Every thread starts at 1, whatever the one that started it announced: a worker enters this itself.
    Raises ValueError for any other order.
    """
    if order not in (1, 2):
        raise ValueError(f"derivatives({order!r}): the order is 1 (gradients) or 2 (gradients of gradients)")
    before = _announced.order, _announced.transformed
    _announced.order, _announced.transformed = order, transformed
    try:
        yield
    finally:
        _announced.order, _announced.transformed = before


def order() -> int:
    """1, or 2 inside `derivatives(2)`: then no kernel will do that has no second derivative, or a slow one."""
    return _announced.order


def transformed() -> bool:
    """Whether torch.autograd.grad is out of reach, and torch.func.grad takes its place."""
    return _announced.transformed
