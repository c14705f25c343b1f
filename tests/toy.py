"""Small worlds for tests: generated reviews, tasks of them with tokens, and an LSTM model that runs in milliseconds."""

from dataclasses import dataclass, field

import numpy as np
import torch
from datasets import Dataset

from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episodes
from metalingua.task.task import Rule, Task, make_task
from metalingua.text.word import WordTokenizer

VOCABULARY = 60
GOOD, BAD = ("good", "lovely", "bright"), ("bad", "awful", "dull")
HEADS = {"classification_2": 2, "classification_3": 3, "regression": 1}


def reviews(domain: str, items: int, seed: int = 0, labels: tuple[str, ...] = ("bad", "good")) -> tuple[list, list]:
    """`items` distinct texts of 4 to 8 words and their labels in turn. Each holds two words that give its label away,
    GOOD ones for the last label and BAD ones for the first; any label between them has one of either.
    """
    dice = np.random.default_rng([seed, *domain.encode()])
    plain = [f"{domain}{chr(97 + i)}" for i in range(20)]
    texts: dict[str, str] = {}
    while len(texts) < items:
        label = labels[len(texts) % len(labels)]
        telling = {labels[0]: (BAD, BAD), labels[-1]: (GOOD, GOOD)}.get(label, (GOOD, BAD))
        words = [*dice.choice(plain, dice.integers(2, 7), replace=False), *(dice.choice(each) for each in telling)]
        texts.setdefault(" ".join(dice.permutation(words)), label)
    return list(texts), list(texts.values())


def ratings(labels: list[str], seed: int = 0) -> np.ndarray:
    """A number on -4 .. 4 for each label: above 1 if "good", below -1 if "bad", else between."""
    dice = np.random.default_rng(seed)
    middle = np.array([{"good": 2.5, "bad": -2.5}.get(label, 0.0) for label in labels])
    return middle + dice.uniform(-0.9, 0.9, len(labels))


def prose(texts: int = 400, seed: int = 0, most: int = 4) -> list[str]:
    """Texts of 1 to `most` sentences of 5 to 12 words, "the" in all of them, and at the end one of 2 words."""
    dice = np.random.default_rng(seed)
    plain = [f"{a}{b}{c}" for a in "bdgklm" for b in "aeiou" for c in "nrst"]

    def sentence() -> str:
        words = [*dice.choice(plain, dice.integers(4, 12)), "the"]
        return " ".join(dice.permutation(words)).capitalize() + dice.choice([".", "!", "?"])

    return [" ".join([*(sentence() for _ in range(dice.integers(1, most + 1))), "Too short."]) for _ in range(texts)]


@dataclass
class TinyCorpus:
    """What `Tasks` asks of a corpus, with its rows given."""

    name: str
    texts: list[str]
    label: list[str] | None = None
    rating: list[float] | None = None
    labels: list[str] | None = None
    rating_range: list[float] | None = None
    domain: str = ""
    label_words: dict[str, str] | None = None
    domains: list[str] | None = None  # of each text, in place of `domain`
    loads: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.domain = self.domain or self.name
        if self.label is not None and self.labels is None:
            self.labels = list(dict.fromkeys(self.label))
        if self.rating is not None and self.rating_range is None:
            self.rating_range = [-4.0, 4.0]

    def counted(self) -> dict[str, int]:
        return {}

    def load(self) -> Dataset:
        self.loads += 1
        answers = {} if self.label is None else {"label": self.label}
        if self.rating is not None:
            answers = {"rating": [float(r) for r in self.rating]}
        said = {} if self.domains is None else {"domain": self.domains}
        return Dataset.from_dict({"text": self.texts, **answers, **said})

    def checksum(self) -> str:
        return f"checksum of {self.name}"


def tiny_tasks(items: int = 60, max_length: int = 16) -> list[Task]:
    """Four tasks on two corpora, tokens set: films (labels) and, on one corpus of ratings, shops_polarity,
    shops_three_way (3 ways) and shops_rating (regression).
    """
    texts, labels = reviews("film", items)
    films = make_task("films", Rule("films"), domain="film", texts=texts, labels=labels, ratings=None,
                      label_set=("bad", "good"), scale=None, ways=2)  # fmt: skip
    texts, labels = reviews("shop", items, labels=("bad", "so so", "good"))
    rules = {
        "shops_polarity": Rule("shops", cuts=[0]),
        "shops_three_way": Rule("shops", cuts=[-1, 1], ways=3),
        "shops_rating": Rule("shops", rating=True),
    }
    shops = [make_task(name, rule, domain="shop", texts=texts, labels=None, ratings=ratings(labels), label_set=None,
                       scale=(-4, 4), ways=2) for name, rule in rules.items()]  # fmt: skip
    tasks = [films, *shops]
    tokenizer = WordTokenizer(VOCABULARY).fit(text for task in tasks for text in task.texts)
    for task in tasks:
        task.tokens = tokenizer.encode(task.texts, max_length)
        if task.scale is None:
            task.names = ("bad", "good") if len(task.classes) == 2 else ("bad", "awful lovely", "good")
            task.name_tokens = tokenizer.encode(list(task.names), max_length)
    return tasks


def tiny_episodes(split="meta_train", seed=0, shots=3, queries=4, label_order="fixed", tasks=None) -> Episodes:
    """Episodes of `tasks`, by default those of `tiny_tasks`."""
    tasks = tiny_tasks() if tasks is None else tasks
    return Episodes(split, tasks, seed=seed, shots=shots, queries=queries, label_order=label_order)


def tiny_model(embedding: int = 5, hidden: int = 4, pooling: str = "mean", heads=HEADS) -> Model:
    """An LSTM with a head for every task of `tiny_tasks`."""
    return Model(LstmEncoder(VOCABULARY, embedding, hidden, pooling), heads)


def tiny_params(model: Model, dtype: torch.dtype = torch.float64, seed: int = 0, heads: float = 0.5) -> Params:
    """Fresh parameters as leaves that want gradients, everything of a size that matters.

    heads   standard deviation of the heads' weights and biases; 0 leaves them at zero, as `Model.init` does
    """
    dice = torch.Generator().manual_seed(seed)
    params = {}
    for name, value in model.init(seed).items():
        if name.startswith("head."):
            value = torch.randn(value.shape, generator=dice) * heads
        if name == model.rows:
            value = value * 5
        params[name] = value.to(dtype).requires_grad_()
    return params
