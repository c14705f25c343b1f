"""A Markdown table in other dresses: CSV, and LaTeX for booktabs."""

import csv as csv_module
import io
import re

_SPECIAL = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "−": "$-$", "–": "--", "†": r"\dag{}", "·": r"$\cdot$",
}  # fmt: skip


def cells(markdown: str) -> tuple[list[list[str]], list[str]]:
    """(rows of cells, the first of them the heads; lines of notes) of one Markdown table."""
    rows, notes = [], []
    for line in markdown.splitlines():
        if line.startswith("|"):
            found = [
                each.strip().replace(r"\|", "|").replace(r"\*", "*") for each in re.split(r"(?<!\\)\|", line)[1:-1]
            ]
            if not all(re.fullmatch(r":?-+:?", each) for each in found):
                rows.append(found)
        elif line.strip():
            notes.append(line.removesuffix("<br>").replace(r"\*", "*"))
    return rows, notes


def as_csv(markdown: str) -> str:
    """Its rows; bold is left out, notes too."""
    text = io.StringIO()
    csv_module.writer(text, lineterminator="\n").writerows(
        [[each.replace("**", "") for each in row] for row in cells(markdown)[0]]
    )
    return text.getvalue()


def as_latex(markdown: str) -> str:
    """A tabular with \\toprule, \\midrule and \\bottomrule, its notes below; needs \\usepackage{booktabs}."""
    (head, *rows), notes = cells(markdown)
    lines = [r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}", r"\toprule"]
    for row in [head, *rows]:
        lines.append(" & ".join(map(_latex, row)) + r" \\" + (r" \midrule" if row is head else ""))
    lines += [r"\bottomrule", r"\end{tabular}", *(f"\n{_latex(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _latex(text: str) -> str:
    parts = text.split("**")
    said = ["".join(_SPECIAL.get(letter, letter) for letter in part) for part in parts]
    return "".join(rf"\textbf{{{part}}}" if place % 2 else part for place, part in enumerate(said))
