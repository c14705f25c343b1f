"""From composed configs to outcomes: what is done is left alone, the rest goes to the pool."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from metalingua.check.check import check
from metalingua.error import UserError
from metalingua.result.identity import commit, directory, plain, reading_as_the_start
from metalingua.result.run import RunDirectory, read_result, score
from metalingua.study.pool import Job, Outcome, Pool
from metalingua.study.telling import Telling, failures, report


class NotAllDone(UserError):
    """Some runs of a sweep did not finish."""

    def __init__(self, outcomes: Sequence[Outcome]):
        super().__init__(failures(outcomes).partition("\n")[0].rstrip(":"))


def grouped(config: Mapping[str, Any], name: str) -> list[str]:
    """The override that puts a run with others of a study or search where its logger shows it, if that has groups."""
    return [f"logger.group={name}"] if "group" in config["logger"] else []


def launch(pool: Pool, given: Sequence[tuple[str, tuple[str, ...], DictConfig]]) -> list[Outcome]:
    """Do what is not done of `given`, print how it goes, and return how each ended.

    given  what a person calls the run, its command, its composed config. What `check` refuses is not started; two of
           one config are one run
    """
    jobs: dict[str, Job] = {}
    ended: dict[str, Outcome] = {}
    keys, stale = [], 0
    for name, words, cfg in given:
        try:
            check(cfg)
            run = directory(plain(reading_as_the_start(cfg)))
        except UserError as error:
            keys.append(name)
            refused = Job(name, words, RunDirectory(""))
            ended[name] = Outcome(refused, "refused", reason="its config", tail=str(error).splitlines())
            continue
        key = str(run.path)
        keys.append(key)
        if key not in jobs:
            jobs[key] = Job(name, words, run)
            if run.done and not cfg.rerun:
                ended[key] = Outcome(jobs[key], "done")
                stale += read_result(run.path).get("commit") != commit()
    distinct, done = len(set(keys)), sum(each.state == "done" for each in ended.values())
    said = [f"{distinct} runs, {pool.slots} at a time", f"{done} done already" * bool(done),
            f"{len(ended) - done} refused" * (len(ended) > done),
            f"{len(keys) - distinct} given twice" * (len(keys) > distinct),
            f"{stale} of another commit: rerun=true does them again" * bool(stale)]  # fmt: skip
    print("; ".join(filter(None, said)), flush=True)
    tell = Telling(distinct, done)
    for each in ended.values():
        if each.state == "refused":
            tell("ended", each)
    outcomes = pool.run([job for key, job in jobs.items() if key not in ended], tell)
    ended |= {str(each.job.run.path): each for each in outcomes}
    for outcome in ended.values():
        if outcome.state == "done":
            outcome.score = score(outcome.job.run)
    report([ended[key] for key in dict.fromkeys(keys)])
    return [ended[key] for key in keys]
