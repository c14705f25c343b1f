"""Translation along a stream: quality before and after so many sentences, what is forgotten, and what a sentence costs.

python experiments/0007_applications/stream.py     # rewrites a table of README.md and stream.png beside it
"""

from pathlib import Path

import pandas

from metalingua.result.figure import COLOURS, MARKERS
from metalingua.result.metric import METRICS
from metalingua.result.page_part import rewrite
from metalingua.result.run import read_run

HERE = Path(__file__).parent
STREAMS = {
    "meta_stream": "unadapted",
    "multi_task_stream": "multi_task",
    "single_task": None,
}  # and whom each starts from
NEW, OLD = "en_ja_", "en_de_after_"  # targets: the language that streams in, and one that was known before
CHRF = METRICS["chrf"]


def scores(run: Path) -> pandas.DataFrame:
    """A row a stream, language (`NEW` or `OLD`) and number of sentences: learner (its label), chrF (%), ms a sentence.

    0 sentences are what the stream starts from; from scratch there is nothing, and chrF is 0.
    """
    result, episodes = read_run(run)
    asked = episodes[episodes["learner"].isin([*STREAMS, *STREAMS.values()])]
    found = {key: CHRF.factor * float(CHRF.per_episode(some["chrf"]).mean())
             for key, some in asked.groupby(["learner", "target"])}  # fmt: skip
    seconds = episodes.groupby(["learner", "target"])["adapt_seconds"].mean()
    rows = []
    for stream, before in STREAMS.items():
        for kind in (NEW, OLD):
            sizes = sorted(int(name.removeprefix(kind)) for name in result["targets"] if name.startswith(kind))
            label = result["settings"][stream]["label"]
            start = found.get((before, f"{kind}{sizes[0]}"), 0.0)
            rows.append({"learner": label, "language": kind, "sentences": 0, "chrf": start, "ms": None})
            rows += [
                {"learner": label, "language": kind, "sentences": n, "chrf": found[stream, f"{kind}{n}"],
                 "ms": 1000 * seconds[stream, f"{kind}{n}"] / n}
                for n in sizes
            ]  # fmt: skip
    return pandas.DataFrame(rows)


def mean(folder: Path) -> pandas.DataFrame:
    """`scores` of the runs below `folder`, their mean over seeds."""
    frames = [scores(path.parent) for path in sorted(folder.glob("runs/translation_stream/*/result.json"))]
    keys = ["learner", "language", "sentences"]
    return pandas.concat(frames).groupby(keys, sort=False, as_index=False).mean()


def table(frame: pandas.DataFrame) -> str:
    """A Markdown table: chrF by number of sentences in both languages, what is lost of the old one, ms."""
    wide = frame.pivot(index="learner", columns=["language", "sentences"], values="chrf").loc[
        list(dict.fromkeys(frame["learner"]))
    ]
    new, old = sorted(wide[NEW].columns), sorted(wide[OLD].columns)
    heads = ["learner", *(f"Japanese, {n:,}" for n in new), *(f"German, {n:,}" for n in old)]
    heads += ["German forgotten, points", "ms a sentence"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    ms = frame[frame["sentences"] == max(new)].groupby("learner")["ms"].mean()
    for learner, row in wide.iterrows():
        cells = [f"{row[NEW, n]:.1f}" for n in new] + [f"{row[OLD, n]:.1f}" for n in old]
        lost = row[OLD, old[0]] - row[OLD, old[-1]]
        lines.append(
            f"| {learner} | " + " | ".join([*cells, f"{lost:.1f}".replace("-", "−"), f"{ms[learner]:.1f}"]) + " |"
        )
    return "\n".join(lines) + "\n"


def draw(frame: pandas.DataFrame, path: Path) -> None:
    """Write a PNG: a panel a language, chrF against the sentences that have come, a line a learner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (kind, title) in zip(panels, {NEW: "English to Japanese", OLD: "English to German"}.items(), strict=True):
        for place, (learner, some) in enumerate(frame[frame["language"] == kind].groupby("learner", sort=False)):
            axes.plot(some["sentences"], some["chrf"], color=COLOURS[place], marker=MARKERS[place], label=learner)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("sentences of English to Japanese so far", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("chrF", fontsize=9)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    figure.savefig(path, dpi=120)


def write(folder: Path) -> None:
    """README.md's table and stream.png in `folder`, from the runs below its runs/translation_stream/."""
    frame = mean(folder)
    rewrite(folder / "README.md", "stream", table(frame))
    draw(frame, folder / "stream.png")


if __name__ == "__main__":
    write(HERE)
    print("stream: README.md and stream.png")
