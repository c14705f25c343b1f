from dataclasses import replace

from metalingua.result.layout import Cell, Grid, as_csv, as_latex, as_markdown, escaped, mean_cell, number

GRID = Grid(
    title="A & B",
    said="95 % interval",
    heads=["learner", "minus x_1, points"],
    rows=[[Cell("a|b"), Cell("−1.0 [−2.0, −0.5]", -1.0, bold=True, starred=True)], [Cell("†"), Cell("–")]],
    notes=["*: p is small.", "second"],
)


def test_markdown():
    assert as_markdown(GRID).splitlines() == [
        "**A & B** (95 % interval)",
        "",
        "| learner | minus x_1, points |",
        "| --- | ---: |",
        r"| a\|b | **−1.0 [−2.0, −0.5]**\* |",
        "| † | – |",
        "",
        r"\*: p is small.<br>",
        "second",
    ]


def test_latex():
    assert as_latex(GRID).splitlines() == [
        r"\begin{table}",
        r"\caption{A \& B (95 \% interval)}",
        r"\centering\small",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"learner & minus x\_1, points \\",
        r"\midrule",
        r"a\textbar{}b & \textbf{$-$1.0 {[}$-$2.0, $-$0.5{]}}* \\",
        r"$\dagger$ & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\footnotesize *: p is small.",
        r"\par\footnotesize second",
        r"\end{table}",
    ]


def test_csv_has_what_is_printed_without_bold():
    assert as_csv(GRID) == 'learner,"minus x_1, points"\na|b,"−1.0 [−2.0, −0.5]*"\n†,–\n'


def test_without_a_title_the_table_stands_alone():
    bare = replace(GRID, title="", said="", heads=["", "x"])
    assert as_markdown(bare).splitlines()[:2] == ["| | x |", "| --- | ---: |"]
    made = as_latex(bare)
    assert made.startswith("\\begin{tabular}{lr}\n\\toprule\n & x \\\\\n\\midrule\n")
    assert made.endswith("\\end{tabular}\n\n*: p is small.\n\nsecond\n")


def test_a_number_has_a_true_minus_and_zero_no_sign():
    assert [number(each, 1, "+") for each in (1.26, 0.04, -0.04, -1.26)] == ["+1.3", "0.0", "0.0", "−1.3"]
    assert [number(each, 1) for each in (1.26, -0.04, -1.26)] == ["1.3", "0.0", "−1.3"]


def test_a_mean_has_an_interval_from_two_values_on():
    assert [mean_cell(each, 1).text for each in ([], [2.0])] == ["–", "2.0"]
    # t with 1 degree of freedom: 12.706 * 1
    assert mean_cell([1.0, 3.0], 1, bounds=(0.0, 9.0)) == Cell("2.0 [0.0, 9.0]", 2.0)
    assert mean_cell([1.0, 3.0], 1, "+", bounds=(0.0, 9.0)).text == "+2.0 [−10.7, +14.7]"
    assert mean_cell([2.0, 2.0], 1, "+", starred=True) == Cell("+2.0 [+2.0, +2.0]", 2.0, bold=True, starred=True)


def test_each_special_character_is_escaped_once():
    assert escaped("\\ { } ~ ^ _ # $ & %") == (
        r"\textbackslash{} \{ \} \textasciitilde{} \textasciicircum{} \_ \# \$ \& \%"
    )
    assert escaped("<0.1") == "$<$0.1" and escaped("naïve 中") == "naïve 中"
