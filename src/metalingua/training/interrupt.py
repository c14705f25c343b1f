"""Stopping a run: by a signal, as an error that the run's status tells of."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from metalingua.error import UserError

GO_ON = "the same command goes on from the last checkpoint"


class Interrupted(UserError):
    """The run was told to stop. It is not done; the same command goes on with it."""

    def __init__(self, message: str, signal_number: int = signal.SIGTERM):
        super().__init__(message)
        self.exit_code = 128 + signal_number  # as a shell counts: not the 2 of a refusal


@contextlib.contextmanager
def stopped_by_signal() -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the run as an error, so that its status is written: neither is success."""

    def stop(number: int, frame: Any) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}; {GO_ON}", number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
