"""What must be reached on two quiet cores, with two threads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """Times as fast as the best peer, and share of the matrix product's speed; for `tasks` a meta-step."""

    ratio: float
    share: float
    tasks: tuple[int, ...] = (4, 16)


THREADS = 2
GOALS = {
    "W1": Goal(3.7, 0.45),
    "W2": Goal(1.45, 0.65),
    "W3": Goal(1.15, 0.63, tasks=(16,)),
    "W4": Goal(1.2, 0.60),
    "W4c": Goal(1.15, 0.55),
    "W5": Goal(1.7, 0.63),
}
MEMORY = 0.4  # of learn2learn's peak: W1 at one thread
OVERHEAD = 0.05  # of Lightning, logging and data over the bare step
