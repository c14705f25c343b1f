"""From the seconds of a race to what a table says."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.race import OURS
from benchmarks.workload import PRODUCT_FLOPS, Workload


def best_peer(contestants: Mapping[str, Any]) -> str:
    """The fastest in the median, of all but us."""
    return min((name for name in contestants if name != OURS), key=lambda name: median(contestants[name]["seconds"]))


def ratios(contestants: Mapping[str, Any], of: str, to: str) -> list[float]:
    """How many times as fast as `to` `of` was, round by round."""
    pairs = zip(contestants[of]["seconds"], contestants[to]["seconds"], strict=True)
    return [theirs / mine for mine, theirs in pairs]


def shares(race: Mapping[str, Any], name: str, w: Workload) -> list[float]:
    """Of each round: the multiplications that the workload needs, a second, over those of the matrix products before
    and after that round."""
    product = race["product"]
    speeds = [PRODUCT_FLOPS / ((before + after) / 2) for before, after in zip(product, product[1:], strict=False)]
    flops = w.task_flops() * w.tasks
    taken = race["contestants"][name]["seconds"]
    return [flops / seconds / speed for seconds, speed in zip(taken, speeds, strict=True)]


def summary(race: Mapping[str, Any], w: Workload) -> dict[str, Any]:
    """Medians over the rounds, and each ratio's smallest and largest, contestant by contestant."""
    contestants = race["contestants"]
    best = best_peer(contestants)
    rows = {}
    for name, each in contestants.items():
        found = ratios(contestants, name, best)
        rows[name] = {
            "tasks_per_second": w.tasks / median(each["seconds"]),
            "ratio": median(found),
            "ratio_range": [min(found), max(found)],
            "product_share": median(shares(race, name, w)),
            "peak_mib": each["peak_mib"],
        }
    product_gflops = PRODUCT_FLOPS / median(race["product"]) / 1e9
    return {"best_peer": best, "rounds": len(race["product"]) - 1, "product_gflops": product_gflops, "rows": rows}
