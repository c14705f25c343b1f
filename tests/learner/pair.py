"""Two gloo processes that train every learner of some test files, to be compared with one process.

python pair.py INTO FILE:CLASS...      # what `start` runs, twice
"""

import importlib.util
import inspect
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS, BATCH = 3, 4
HERE = Path(__file__).parent


def trained(learner, **how):
    """The weights, float64, after STEPS steps on BATCH episodes each; `how` is for Lightning's Trainer."""
    import pytorch_lightning as pl
    import torch
    from proof import ALL_EPISODES, module_of, params_of, small_model

    from metalingua.training.data import EpisodeData

    class Tasks:
        """What EpisodeData asks of tasks: episodes, here those that the learner does not refuse."""

        def episodes(self, split, seed, names=False):
            known = (ALL_EPISODES[i] for i in range(1000))
            kept = (episode for episode in known if learner.refuses(episode.support.problem) is None)
            return [next(kept) for _ in range(STEPS * BATCH)]

    model = small_model()
    module = module_of(learner, model, params_of(model, learner))
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.1, momentum=0.5)
    data = EpisodeData(Tasks(), seed=0, steps=STEPS, meta_batch=BATCH, validation=1, test=1)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }
    trainer = pl.Trainer(accelerator="cpu", max_steps=STEPS, limit_val_batches=0, **quiet, **how)
    trainer.fit(module, data)
    assert trainer.global_step == STEPS
    return {name: value.detach().clone() for name, value in module.params.items()}


def name_of(proof):
    """FILE:CLASS of a subclass of Proof."""
    return f"{inspect.getfile(proof)}:{proof.__name__}"


def imported(path):
    """A test file as a module; not anew where pytest, or this function, has imported it."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    spec = importlib.util.spec_from_file_location(f"of_learner_{Path(path).stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(named):
    """The two processes for these FILE:CLASS, and the file they will write."""
    into = Path(tempfile.mkdtemp()) / "weights.pt"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    roots = [HERE.parents[1] / "src", HERE.parent, HERE]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, roots)),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": port,
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": "1",
    }
    pair = [
        subprocess.Popen([sys.executable, __file__, str(into), *named], env={**env, "LOCAL_RANK": str(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in (0, 1)
    ]  # fmt: skip
    return pair, into


def end(pair, into, seconds=120):
    """{"FILE:CLASS": weights of both processes, or the error of one that failed}."""
    import torch

    try:
        said = [process.communicate(timeout=seconds)[0] for process in pair]
    finally:
        for process in pair:
            process.kill()
    if any(process.returncode for process in pair):
        raise RuntimeError("a process of the pair ended early:\n" + "\n".join(said))
    return torch.load(into, weights_only=True)


def main(into, *named):
    import torch

    torch.set_num_threads(1)
    found = {}
    for name in named:
        path, _, attribute = name.rpartition(":")
        weights = trained(getattr(imported(path), attribute).made(), strategy="ddp", devices=2)
        both = {}
        for key, value in weights.items():
            each = [torch.empty_like(value) for _ in range(2)]
            torch.distributed.all_gather(each, value)
            both[key] = torch.stack(each)
        found[name] = both
    if os.environ["LOCAL_RANK"] == "0":
        torch.save(found, into)
    torch.distributed.barrier()


if __name__ == "__main__":
    main(*sys.argv[1:])
