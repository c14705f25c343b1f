"""What a run reads before it trains: tasks with their tokens, the tokenizer, and what they start from."""

from dataclasses import dataclass

from hydra.utils import instantiate
from omegaconf import DictConfig

from metalingua.result.identity import plain
from metalingua.task.tasks import Tasks
from metalingua.text.tokenizer import Tokenizer
from metalingua.training.progress import say
from metalingua.training.refusal import refuse_before_reading
from metalingua.training.start import Start


@dataclass
class Reading:
    """What runs of the same tasks share: tasks with their tokens, the tokenizer, and what they start from."""

    tasks: Tasks
    tokenizer: Tokenizer
    start: Start | None = None


def read(cfg: DictConfig) -> Reading:
    """Corpora, gate, tasks, and the tokenizer: fitted on meta-training text, or that of the run to start from."""
    config, tasks = plain(cfg), instantiate(cfg.task, _convert_="all")
    start = Start.of(config)  # before minutes are spent on reading, as what follows
    refuse_before_reading(config, tasks)
    say("Reading corpora, looking for leaks between the splits")
    tasks.read()
    dropped, fate = sum(tasks.found["drop"].values()), "left out" if cfg.task.leakage == "drop" else "found twice"
    say(f"  {tasks.found['texts']:,} texts, {dropped:,} {fate}")
    for name, counted in tasks.found["mended"].items():
        say(f"  corpus {name}: " + ", ".join(f"{number:,} {what}" for what, number in counted.items()))
    if cut := tasks.found.get("sentences"):
        say(f"  {cut['read']:,} sentences of unlabelled text, {sum(cut['drop'].values()):,} {fate}")
    say("  Turning texts into tokens")
    tokenizer = instantiate(cfg.text)
    if start:
        tokenizer.from_json(start.tokenizer)
    tasks.encode(tokenizer, fit=start is None)
    if cut := tokenizer.cut + sum(getattr(t, "cut", 0) for each in tasks.splits.values() for t in each):
        say(f"  {cut:,} texts are longer than task.max_length={cfg.task.max_length} tokens: their ends are not read")
    if blank := getattr(tokenizer, "blank", 0):  # tokenizers of one's own may not count them
        say(f"  {blank:,} texts have no token of their own: nothing can be read of them")
    if unread := sum(getattr(t, "unread", 0) for each in tasks.splits.values() for t in each):
        say(f"  {unread:,} sentences or contexts have no token: not drawn; nothing is found in those of a test set")
    return Reading(tasks, tokenizer, start)
