"""What each learner promises, as the tests prove it: `make proofs` writes it into docs/learners.md."""

import inspect
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "learners.md"
COLUMNS = {  # property -> what the page calls it
    "exact_gradient": "exact gradient",
    "zero_steps": "0 steps: no change",
    "support_order": "support order",
    "renaming": "renaming classes",
    "any_ways": "any ways",
    "pure": "pure",
    "batch_is_loop": "batch = loop",
    "threads": "threads",
    "vmap": "vmap",
    "ddp": "DDP",
    "no_grad": "no grad mode",
    "overfits": "overfits",
    "shuffled_chance": "chance",
    "flat_memory": "flat memory",
    "inductive": "queries unseen",
}


def table() -> str:
    """Markdown, a row a `class TestX(Proof)`, in the order of the files; below it the reasons for every dash."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]  # as pytest finds them
    from pair import imported
    from proof import COUNTEREXAMPLE, Proof

    properties = [name.removeprefix("test_") for name in vars(Proof) if name.startswith("test_")]
    assert properties == list(COLUMNS), "a property of Proof has no column here"
    lines = [f"| learner | {' | '.join(COLUMNS.values())} |", "| --- |" + " :-: |" * len(COLUMNS)]
    reasons: dict[str, int] = {}
    for path in sorted(HERE.glob("test_*.py")):
        kinds = [
            kind
            for name, kind in vars(imported(path)).items()
            if inspect.isclass(kind) and issubclass(kind, Proof) and name.startswith("Test")
        ]
        for kind in kinds if path.stem != "test_proof" else ():
            proof, cells = kind(), []
            for name in COLUMNS:
                lack = proof.lacks.get(name) or proof.without_meaning(name) or proof.undeclared(name)
                if lack is None:
                    cells.append("✓")
                elif lack == COUNTEREXAMPLE:
                    cells.append("✗")
                else:
                    cells.append(f"–{reasons.setdefault(lack, len(reasons) + 1)}")
            which = f", {kind.__name__.removeprefix('Test')}" if len(kinds) > 1 else ""
            lines.append(f"| `{path.stem.removeprefix('test_')}`{which} | {' | '.join(cells)} |")
    notes = "<br>\n".join(f"–{number}: {reason}." for reason, number in reasons.items())
    return "\n".join(lines) + f"\n\n{notes}\n"


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1] / "src"))
    from metalingua.result.page_part import rewrite

    rewrite(PAGE, "proofs", table())
