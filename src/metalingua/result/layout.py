"""The cells of a table, and how Markdown, CSV and LaTeX write them."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from metalingua.result.interval import Interval, mean_over_seeds


@dataclass(frozen=True)
class Cell:
    """What stands in one cell: plain text, no markup.

    value   the number behind the text, to sort by; None: there is none
    bold    the 95 % interval of a difference excludes 0; or as the notes of its table say
    starred its p is at most 0.05 after Holm
    """

    text: str
    value: float | None = None
    bold: bool = False
    starred: bool = False


@dataclass(frozen=True)
class Grid:
    """A table as it is printed: its first column is words, the others are numbers.

    title  "" for one that stands in a text of its own
    said   what its intervals and tests are, ready to stand after the title
    notes  lines below it
    """

    title: str
    said: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]


def number(value: float, digits: int, sign: str = "") -> str:
    """`value` with the minus of print; where `sign` is "+", with a plus too. 0 has neither."""
    text = f"{value:{sign}.{digits}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def interval_cell(found: Interval, digits: int, sign: str = "", starred: bool = False) -> Cell:
    """A score and its interval; where `sign` is "+", a difference: bold if its interval excludes 0."""
    estimate, low, high = (number(each, digits, sign) for each in (found.estimate, found.low, found.high))
    return Cell(f"{estimate} [{low}, {high}]", found.estimate, bool(sign) and found.excludes_zero, starred)


def mean_cell(
    values: Sequence[float],
    digits: int,
    sign: str = "",
    starred: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Cell:
    """The mean over seeds, the interval of a score cut at `bounds`; of one value that alone, of none a dash."""
    if len(values) < 2:
        return Cell(number(values[0], digits, sign), values[0]) if values else Cell("–")
    found = mean_over_seeds(values)
    return interval_cell(found if sign else found.within(*bounds), digits, sign, starred)


def as_markdown(grid: Grid) -> str:
    """Title, table and notes; ends with a newline."""
    lines = [list(grid.heads), ["---", *["---:"] * (len(grid.heads) - 1)]]
    for row in grid.rows:
        texts = []
        for cell in row:
            text = cell.text.replace("|", "\\|")
            texts.append((f"**{text}**" if cell.bold else text) + ("\\*" if cell.starred else ""))
        lines.append(texts)
    table = "\n".join(" ".join(f"{text} |".lstrip() for text in ["", *line]) for line in lines)
    head = f"**{grid.title}**" + (f" ({grid.said})" if grid.said else "") + "\n\n" if grid.title else ""
    return f"{head}{table}\n" + (f"\n{notes_as_markdown(grid.notes)}" if grid.notes else "")


def notes_as_markdown(notes: Sequence[str]) -> str:
    """A line each; ends with a newline."""
    return "<br>\n".join(note.replace("*", "\\*") for note in notes) + "\n"


def as_csv(grid: Grid) -> str:
    """Heads and rows as they are printed, without bold, title and notes."""
    text = io.StringIO()
    rows = [[cell.text + "*" * cell.starred for cell in row] for row in grid.rows]
    csv.writer(text, lineterminator="\n").writerows([grid.heads, *rows])
    return text.getvalue()


def as_latex(grid: Grid) -> str:
    """A `table` for the package booktabs; without a title, its tabular and a paragraph for each note. Ends with a
    newline."""
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}",
        r"\toprule",
        " & ".join(map(escaped, grid.heads)) + r" \\",
        r"\midrule",
    ]
    for row in grid.rows:
        texts = [(rf"\textbf{{{escaped(cell.text)}}}" if cell.bold else escaped(cell.text)) + "*" * cell.starred
                 for cell in row]  # fmt: skip
        lines.append(" & ".join(texts) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [*map(escaped, grid.notes)]
    if not grid.title:
        return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"
    caption = escaped(grid.title) + (f" ({escaped(grid.said)})" if grid.said else "")
    lines = [r"\begin{table}", rf"\caption{{{caption}}}", r"\centering\small", *lines]
    return "\n".join([*lines, *(rf"\par\footnotesize {note}" for note in notes), r"\end{table}"]) + "\n"


_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": r"\textbar{}", "[": "{[}",
    "]": "{]}", "−": "$-$", "–": "--", "—": "---", "†": r"$\dagger$", "≤": r"$\le$", "·": r"$\cdot$", "×": r"$\times$",
    "“": "``", "”": "''", "…": r"\ldots{}", "\N{NO-BREAK SPACE}": "~",
})  # fmt: skip


def escaped(text: str) -> str:
    """`text` for LaTeX, character by character. Brackets are braced: after `\\\\` they would be an argument."""
    return text.translate(_LATEX)
