"""The leakage gate: no text in two of meta-training, meta-validation and meta-test, or in both halves of an episode.

Two texts are one if their normal forms are equal or their sets of 5-word shingles have a Jaccard similarity of at
least 0.8 (Broder 1997). Near pairs are found exactly, by prefix filtering (Chaudhuri et al. 2006): two sets that
similar share one of each set's first `0.2 n + 1` elements in any common order, here rarest first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas

from metalingua.error import UserError
from metalingua.text.normal import words

SHINGLE_WORDS = 5
JACCARD = 0.8
SPLITS = ("meta_train", "meta_validation", "meta_test")  # what is dropped, is dropped from the earlier of two
FIXED = "fixed queries"  # later than all three: what is like one of them is not drawn for a support set
_ORDER = (*SPLITS, FIXED)
TEXTS = ("text", "target")  # columns of a corpus that hold text
ASKED = "question"  # where a corpus has this column, rows of one text are told apart by it


class LeakageError(UserError):
    """Something that must be new at meta-test is not."""


@dataclass(frozen=True)
class Pool:
    """The texts that one split of tasks may draw from one corpus; or, with FIXED for a split, fixed queries."""

    split: str
    corpus: str
    texts: list[str]


def pools(
    split: str, corpus: str, columns: Mapping[str, Sequence[Any]], at: np.ndarray
) -> Iterator[tuple[Pool, list[np.ndarray]]]:
    """What the gate must see of the rows `at` of a corpus, a pool a column of texts, with the rows of each text.

    A text that several rows ask about (a question each) stands there once.
    """
    for column in (name for name in TEXTS if name in columns):
        texts = [columns[column][i] for i in at]
        if ASKED not in columns:
            yield Pool(split, corpus, texts), [np.array([i]) for i in at]
            continue
        rows: dict[str, list[int]] = {}
        for text, row in zip(texts, at, strict=True):
            rows.setdefault(text, []).append(int(row))
        yield Pool(split, corpus, list(rows)), [np.array(each) for each in rows.values()]


@dataclass
class Leakage:
    """What the gate found. `drop[k]` are the indices to leave out of pool k."""

    pairs: list[tuple[Pool, str, Pool, str]] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    drop: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def report(self, pools: list[Pool]) -> dict[str, Any]:
        """Plain data for result.json: pairs found by kind, texts to drop by split and corpus, a few examples."""
        dropped = {f"{pools[k].split}/{pools[k].corpus}": len(v) for k, v in sorted(self.drop.items()) if v}
        examples = [
            f"{a.split}/{a.corpus}: {s[:120]!r} ~ {b.split}/{b.corpus}: {t[:120]!r}" for a, s, b, t in self.pairs[:5]
        ]
        return {"pairs": dict(sorted(self.counts.items())), "drop": dropped, "examples": examples}


def gate(pools: list[Pool]) -> Leakage:
    """Every pair of like texts that lies in two splits, or in one split and one corpus (so perhaps in one episode)."""
    owner = [(k, i) for k, pool in enumerate(pools) for i in range(len(pool.texts))]
    found = Leakage()
    within = []
    for left, right in like_pairs([text for pool in pools for text in pool.texts]):
        (a, i), (b, j) = sorted((owner[left], owner[right]), key=lambda at: (_ORDER.index(pools[at[0]].split), at))
        if pools[a].split == pools[b].split and pools[a].corpus != pools[b].corpus:
            continue  # two corpora of one split never meet in an episode
        found.pairs.append((pools[a], pools[a].texts[i], pools[b], pools[b].texts[j]))
        if pools[a].split == pools[b].split:
            found.counts[f"within {pools[a].split}/{pools[a].corpus}"] += 1
            within.append((a, i, b, j))
        else:
            found.counts[f"{pools[a].split}/{pools[a].corpus} ~ {pools[b].split}/{pools[b].corpus}"] += 1
            found.drop[a].add(i)
    for a, i, b, j in within:  # one text of a group stays
        if i not in found.drop[a] and j not in found.drop[b]:
            found.drop[b].add(j)
    found.pairs.sort(key=lambda pair: pair[0].split == pair[2].split)  # what lies in two splits first
    return found


def like_pairs(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) of texts that count as one, in a fixed order."""
    split = [words(text) for text in texts]
    pairs: set[tuple[int, int]] = set()
    same = defaultdict(list)
    for i, each in enumerate(split):
        if each:  # "!" and "?" have no form to compare
            same["".join(each)].append(i)
    for group in same.values():
        pairs.update((i, j) for at, i in enumerate(group) for j in group[at + 1 :])
    shingles, start = _shingles(split)
    for i, j in _candidates(shingles, start):
        a, b = shingles[start[i] : start[i + 1]], shingles[start[j] : start[j + 1]]
        if min(len(a), len(b)) < JACCARD * max(len(a), len(b)):
            continue
        common = len(np.intersect1d(a, b, assume_unique=True))
        if common >= JACCARD * (len(a) + len(b) - common):
            pairs.add((i, j))
    yield from sorted(pairs)


def _shingles(split: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Each text's distinct shingles, [all shingles] int64, text i's at start[i]:start[i + 1].

    Ids count from 0, rarest first. A text shorter than a shingle is one shingle.
    """
    count = np.array([len(each) for each in split], dtype=np.int64)
    end = np.cumsum(count)
    codes = pandas.factorize(np.array([word for each in split for word in each], dtype=object))[0].astype(
        np.uint64
    ) + np.uint64(1)
    owner = np.repeat(np.arange(len(split)), count)
    width = np.minimum(count, SHINGLE_WORDS)[owner]
    whole = np.arange(len(codes)) + width <= end[owner]  # the shingle that begins here lies within its text
    code = width.astype(np.uint64)
    for k in range(SHINGLE_WORDS):  # a polynomial modulo 2^64; two shingles of 10^7 collide with p < 10^-5
        word = np.concatenate([codes[k:], np.zeros(min(k, len(codes)), np.uint64)])
        code = code * np.uint64(0x9E3779B97F4A7C15) ^ np.where(k < width, word, 0) * np.uint64(0xC2B2AE3D27D4EB4F)
        code ^= code >> np.uint64(29)
    shingle, distinct = pandas.factorize(code[whole])
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[np.argsort(np.bincount(shingle, minlength=len(distinct)), kind="stable")] = np.arange(len(distinct))
    owned = np.sort(owner[whole] * max(1, len(distinct)) + rank[shingle])  # by text, then by rank
    owned = owned[np.diff(owned, prepend=-1) != 0]
    owner, shingles = np.divmod(owned, max(1, len(distinct)))
    return shingles, np.searchsorted(owner, np.arange(len(split) + 1))


def _candidates(shingles: np.ndarray, start: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs that share an element of both prefixes: a superset of the near pairs."""
    size = np.diff(start)
    owner = np.repeat(np.arange(len(size)), size)
    place = np.arange(len(shingles)) - start[owner]
    prefix = place < size[owner] - np.ceil(JACCARD * size[owner] - 1e-9) + 1
    keys, owners = shingles[prefix], owner[prefix]
    shared = np.bincount(keys, minlength=1)[keys] > 1
    keys, owners = keys[shared], owners[shared]
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], owners[order]
    seen = set()
    for group in np.split(owners, np.flatnonzero(np.diff(keys)) + 1):
        for at in range(1, len(group)):
            for i in group[:at]:
                pair = (int(i), int(group[at]))
                if pair not in seen:
                    seen.add(pair)
                    yield pair
