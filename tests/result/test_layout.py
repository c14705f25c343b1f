from metalingua.result.layout import Cell, Grid, as_latex, as_markdown, escaped

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


def test_each_special_character_is_escaped_once():
    assert escaped("\\ { } ~ ^ _ # $ & %") == (
        r"\textbackslash{} \{ \} \textasciitilde{} \textasciicircum{} \_ \# \$ \& \%"
    )
    assert escaped("<0.1") == "$<$0.1" and escaped("naïve 中") == "naïve 中"
