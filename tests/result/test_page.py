"""The page of a study: what stands in it, and how it behaves in a browser."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metalingua.result.page import COLUMNS, page
from metalingua.result.run import RunError
from metalingua.result.table import tables

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "000000000000": {"seed": 0, "learner": {"steps": 5}, "name": "sentiment", "note": "<b>"},
    "000000000001": {"seed": 1, "learner": {"steps": 5}, "name": "sentiment", "note": "<b>"},
}


@pytest.fixture
def study(make_run):
    """Arguments of a page of two seeds and two targets, with everything there is to draw."""
    runs = [make_run(seed) for seed in range(2)]
    for result, _ in runs:
        result["curves"]["single_task"] = {"imdb": {"steps": [0, 5], "accuracy": [0.5, 0.6]}}
        history = [[50, 10.0, 0.5], [100, 20.0, 0.7]]
        result["training"] = {"maml": {"seconds": 25.0, "history": history, "flops_per_step": 1e9}}
        result |= {"commit": "a" * 40, "versions": {"torch": "2.13.0"}}
        result["settings"]["majority"]["label"] = "Majority <class>"
    return {"runs": {"main": runs}, "tables_made": {"main": tables(runs)}, "configs": CONFIGS}


def made(study, **more):
    return page("A & B", "Does it **help**?", **{**study, **more})


def test_it_holds_all_parts_and_the_same_bytes_each_time(study):
    html = made(study, verdict="* Yes, by `10` points.")
    assert html == made(study, verdict="* Yes, by `10` points.") != made(study)
    for part in (
        "<title>A &amp; B</title>",
        "Does it <strong>help</strong>?",
        "<li>Yes, by <code>10</code> points.</li>",
        *("Scores", "Adaptation", "Cost against score", "Learning", "Each learner (row) less each other (column)"),
        *("2 runs; commit aaaaaaa; torch 2.13.0.", "000000000001", "imdb=c0ffee", "learner.steps: 5"),
    ):
        assert part in html
    assert "3 settings that all runs share" in html and ">Verdict<" in html and ">Verdict<" not in made(study)
    assert html.count("<svg") == 2 * 2 + 1 + 1  # scores and costs of 2 targets, one curve, learning
    assert ">MAML, second order</text>" in html  # words in figures stay words
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 50
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_of_runs_of_many_kinds_only_what_all_have_is_shown(study):
    first, second = CONFIGS
    kinds = {name: {**config, "task": {f"{name}_{i}": i for i in range(COLUMNS)}} for name, config in CONFIGS.items()}
    html = made(study, configs=kinds)
    assert f"task.{first}_0" not in html and f"task.{second}_0" not in html
    assert f"{2 * COLUMNS:,} more keys differ: the config.yaml of each run has them." in html
    assert "3 settings that all runs share" in html


def test_words_of_runs_are_no_html(study):
    html = made(study, verdict="<script>alert(1)</script> ![x](http://a.b/c.png)")
    assert "Majority &lt;class&gt;" in html and "<class>" not in html and "note: &lt;b&gt;" in html
    assert "&lt;script&gt;alert" in html and "<img" not in html


def test_figures_take_the_colours_of_the_page(study):
    drawings = "".join(re.findall(r"<svg.*?</svg>", made(study), re.DOTALL))
    assert "var(--c0)" in drawings and "var(--grid)" in drawings
    assert not re.findall(r"(?:fill|stroke): #\w+", drawings)  # one that is fixed would vanish in dark mode


def test_the_matrix_is_the_tables_differences(study):
    html = made(study)
    row = study["tables_made"]["main"][0].rows[0]
    found = row.differences["single_task"]
    low, high, middle = (f"{value:+.1f}".replace("-", "−") for value in (found.low, found.high, found.estimate))
    cell = f'title="MAML, second order − Single-task: {middle} [{low}, {high}]"'
    assert html.count(cell) == 1
    assert (f'<td class="above" {cell}' in html) is found.excludes_zero


def test_one_run_and_markdown_tables(make_run):
    run = make_run()
    side = "| | x |\n| --- | ---: |\n| a | 2.0 |\n\nfirst<br>\nsecond\n"
    html = page("t", "q", {"one": [run], "side": [run]}, {"one": tables([run]), "side": side})
    assert "given this seed" in html and '<th style="text-align:right">x</th>' in html and "first<br />" in html
    assert 'class="sorts"' in html and "Settings" not in html and "Learning" not in html
    table = tables([run])[0]  # the matrix and the table draw the same resamples
    found = table.rows[0].differences["multi_task"]
    assert f"Multi-task, fine-tuned: {found.estimate:+.1f} [{found.low:+.1f}, {found.high:+.1f}]" in html


def test_what_does_not_fit_together_is_refused(study):
    with pytest.raises(RunError, match=r"runs are given for \['main'\] and tables for \['other'\]"):
        made(study, tables_made={"other": study["tables_made"]["main"]})
    with pytest.raises(RunError, match="configs abc are of no run of this page"):
        made(study, configs={"abc": {}})


def test_kept_runs_are_enough_and_torch_is_not_imported():
    words = """
import sys
from pathlib import Path
from omegaconf import OmegaConf
from metalingua.result.page import COLUMNS, page
from metalingua.result.run import read_run
from metalingua.result.table import tables
paths = sorted(Path("experiments/0001_sentiment/runs").iterdir())
runs = [read_run(path) for path in paths]
configs = {path.name: OmegaConf.to_container(OmegaConf.load(path / "config.yaml")) for path in paths}
html = page("0001", "?", {"sentiment": runs}, {"sentiment": tables(runs)}, configs)
assert "Task B: Amazon product reviews" in html
assert not {"torch", "pytorch_lightning"} & set(sys.modules), "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="the library playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, study, tmp_path):
    """opened(width, html) -> a page in the browser; what it asked for and complained of must be nothing at the end."""
    asked, said = [], []

    def look(width=1400, html=None, **how):
        file = tmp_path / "page.html"
        file.write_text(made(study) if html is None else html)
        tab = browser.new_context(viewport={"width": width, "height": 900}, **how).new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(file.as_uri())
        return tab

    look.asked, look.said = asked, said
    return look


def shown(tab, table=0, column=0):
    """The texts of a column of the nth table that sorts, from the top."""
    return tab.locator("table.sorts").nth(table).locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()


def test_a_click_on_a_head_sorts_by_its_numbers(opened):
    tab = opened()
    before = shown(tab)
    head = tab.locator("table.sorts").first.locator("th").nth(1)
    assert before[0] == "MAML, second order" and head.get_attribute("aria-sort") is None
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and shown(tab) == before  # made from best to worst
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and shown(tab) == before[::-1]
    words = tab.locator("table.sorts").first.locator("th").first
    words.get_by_role("button").focus()
    tab.keyboard.press("Enter")  # by keyboard as well
    assert shown(tab) == sorted(before, key=str.casefold) and head.get_attribute("aria-sort") is None
    tab.locator("table.sorts").first.locator("th").nth(3).get_by_role("button").click()
    values = shown(tab, column=3)
    assert values[-1] == "–" and values[0].startswith("+2")  # what has no number comes last, whichever way
    tab.locator("table.sorts").first.locator("th").nth(3).get_by_role("button").click()
    assert shown(tab, column=3)[-1] == "–" and shown(tab, column=3)[0] == values[-2]
    assert opened.said == [] and len(opened.asked) == 1


def test_one_target_at_a_time(opened):
    tab = opened()
    panels = tab.locator(".panel")
    assert [panels.nth(place).is_visible() for place in (0, 1)] == [True, False]
    tab.get_by_role("tab", name="Stars").click()
    assert [panels.nth(place).is_visible() for place in (0, 1)] == [False, True]
    tab.keyboard.press("ArrowLeft")
    assert panels.first.is_visible() and tab.get_by_role("tab", name="IMDb").get_attribute("aria-selected") == "true"
    tab.emulate_media(media="print")
    assert [panels.nth(place).is_visible() for place in (0, 1)] == [True, True]


def test_it_asks_the_network_for_nothing(opened):
    opened()
    assert len(opened.asked) == 1 and opened.asked[0].startswith("file:") and opened.said == []
    sent = '<img src="http://127.0.0.1:9/x.png"><script>fetch("http://127.0.0.1:9/")</script></body>'
    html = Path(opened.asked[0].removeprefix("file://")).read_text().replace("</body>", sent)
    opened(html=html).wait_for_timeout(200)  # what would, is held back by the page's own policy, and is seen
    assert any("Content Security Policy" in each for each in opened.said)


@pytest.mark.parametrize("width", [1400, 700, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_words_can_be_read(opened, width, scheme):
    tab = opened(width, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    ink, paper = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    dark = sum(map(int, re.findall(r"\d+", paper)[:3])) < sum(map(int, re.findall(r"\d+", ink)[:3]))
    assert dark is (scheme == "dark")
    word = tab.locator("svg text").first
    assert word.evaluate("word => getComputedStyle(word).fill") == ink
