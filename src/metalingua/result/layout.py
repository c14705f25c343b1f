"""The cells of a table, and how Markdown and LaTeX write them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What stands in one cell: plain text, no markup.

    value   the number behind the text, to sort by; None: there is none
    bold    the 95 % interval of a difference excludes 0
    starred its p is at most 0.05 after Holm
    """

    text: str
    value: float | None = None
    bold: bool = False
    starred: bool = False


@dataclass(frozen=True)
class Grid:
    """A table as it is printed: its first column is words, the others are numbers.

    said   what its intervals and tests are, ready to stand after the title
    notes  lines below it
    """

    title: str
    said: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]


def as_markdown(grid: Grid) -> str:
    """Title, table and notes; ends with a newline."""
    lines = [list(grid.heads), ["---", *["---:"] * (len(grid.heads) - 1)]]
    for row in grid.rows:
        texts = []
        for cell in row:
            text = cell.text.replace("|", "\\|")
            texts.append((f"**{text}**" if cell.bold else text) + ("\\*" if cell.starred else ""))
        lines.append(texts)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    head = f"**{grid.title}**" + (f" ({grid.said})" if grid.said else "")
    return f"{head}\n\n{table}\n" + (f"\n{notes_as_markdown(grid.notes)}" if grid.notes else "")


def notes_as_markdown(notes: Sequence[str]) -> str:
    """A line each; ends with a newline."""
    return "<br>\n".join(note.replace("*", "\\*") for note in notes) + "\n"


def as_latex(grid: Grid) -> str:
    """A `table` for the package booktabs; ends with a newline."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{escaped(grid.title)}" + (f" ({escaped(grid.said)})" if grid.said else "") + "}",
        r"\centering\small",
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
    lines += [rf"\par\footnotesize {escaped(note)}" for note in grid.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": r"\textbar{}", "[": "{[}",
    "]": "{]}", "−": "$-$", "–": "--", "—": "---", "†": r"$\dagger$", "≤": r"$\le$", "·": r"$\cdot$", "×": r"$\times$",
    "“": "``", "”": "''", "…": r"\ldots{}", "\N{NO-BREAK SPACE}": "~",
})  # fmt: skip


def escaped(text: str) -> str:
    """`text` for LaTeX, character by character. Brackets are braced: after `\\\\` they would be an argument."""
    return text.translate(_LATEX)
