"""docs/tasks.md: what it shows runs as it stands there, but for steps and sizes."""

import itertools
import json
import random
import re
import shlex

import pytest
import tiny

PAGE = (tiny.REPO / "docs/tasks.md").read_text()
YAMLS = dict(re.findall(r"```yaml\n# (conf/task/\S+)\n(.*?)```", PAGE, re.S))
COMMANDS = re.findall(r"^python train\.py (.*)$", PAGE, re.M)
SMALL = ["logger=none", "steps=2", "validate_every=2", "episodes.validation=2", "episodes.test=2", "~learner.tuned",
         "~compare.multi_task_finetuned.tuned", "~compare.single_task.tuned"]  # fmt: skip
SIZES = {
    "my_classes": ["text.size=300", "model.embedding=4", "model.hidden=4"],
    "my_entities": ["text.size=300", "model.embedding=4", "model.hidden=4"],
    "my_questions": ["text.size=300", "model.dim=4", "model.heads=2", "model.ffn=4"],
    "my_translation": ["text.size=300", "model.dim=4", "model.heads=2", "model.ffn=4"],
}
NOUNS = [f"{a}{b}{c}" for a in "bdgklm" for b in "aeiou" for c in "nrst"]


def said(dice, words=6):
    return " ".join(dice.sample(NOUNS, words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout with the page's yaml files, and files as its text describes them."""
    made, dice = tiny.checkout(tmp_path_factory.mktemp("checkout")), random.Random(0)
    for name, text in YAMLS.items():
        (made / name).write_text(text)
    for seed, name in enumerate(("reviews", "posts")):
        tiny.write_corpus(made / f"{name}.csv", tiny.texts(seed, 160))
    for name in ("news", "chat"):
        blocks = [
            "\n".join([*(f"{word}\tO" for word in said(dice).split()), f"{dice.choice(NOUNS)}\tB-{kind}", "x\tO"])
            for kind in ["PER", "LOC"] * 40
        ]
        (made / f"{name}.conll").write_text("\n\n".join(blocks))
    for name, titles in (("manuals", ["Radio", "Lamp", "Clock"]), ("letters", ["Ada"])):
        rows = []
        for title, number in itertools.product(titles, range(16)):
            context = said(dice, 8)
            answer = context.split()[3]
            there = {"text": [answer], "answer_start": [context.index(answer)]}
            rows.append({"title": title, "context": context, "question": said(dice, 3),
                         "answers": there if number % 4 else {"text": [], "answer_start": []}})  # fmt: skip
        (made / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, language in (("talks", "de"), ("notes", "fr")):
        lines = [said(dice) for _ in range(120)]
        (made / f"{name}.en").write_text("\n".join(lines))
        (made / f"{name}.{language}").write_text("\n".join(line[::-1] for line in lines))
    return made


def test_every_task_of_the_page_has_its_command():
    names = [re.search(r"task=(\w+)", command)[1] for command in COMMANDS]
    assert [f"conf/task/{name}.yaml" for name in names] == list(YAMLS) and sorted(SIZES) == sorted(names)


@pytest.mark.parametrize("command", COMMANDS, ids=sorted(SIZES, key=PAGE.index))
def test_it_runs(folder, command):
    words = shlex.split(command)
    name = words[-1].removeprefix("name=")
    started = tiny.Plain(folder, *words, *SIZES[name], *SMALL)
    code, out, err = started.end(300)
    assert (code, err) == (0, ""), out + err
    tables = [path.read_text() for path in folder.glob(f"outputs/{name}/*/table.md")]
    assert any("single-task" in table and "multi-task" in table for table in tables)
