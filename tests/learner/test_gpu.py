"""Every learner on a GPU: the loss, the gradients and the answers that it has on a CPU."""

import inspect
from pathlib import Path

import pytest
import torch
from pair import imported
from proof import ENGINE, Proof, learnable, loss_of, params_of
from toy import HEADS, VOCABULARY, tiny_model

from metalingua.model.cnn import CnnEncoder
from metalingua.model.model import Model
from metalingua.model.transformer import TransformerEncoder

HERE = Path(__file__).parent
MODELS = {
    "lstm": tiny_model(),  # a task at a time
    "cnn": Model(CnnEncoder(VOCABULARY, 5, 3, [2, 3]), HEADS),  # many tasks as one
    "transformer": Model(TransformerEncoder(VOCABULARY, dim=6, layers=1, heads=2, ffn=8, max_length=16), HEADS),
}


def proofs():
    """All that the other files of this folder declare, by name; none of them is imported where there is no GPU."""
    if not torch.cuda.is_available():
        return {"": None}
    paths = [path for path in sorted(HERE.glob("test_*.py")) if path.stem not in ("test_gpu", "test_proof")]
    found = [kind for path in paths for kind in vars(imported(path)).values() if inspect.isclass(kind)]
    return {kind.__name__: kind for kind in found if issubclass(kind, Proof) and kind is not Proof}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("proof", proofs().items(), ids=lambda each: each[0])
def test_a_gpu_gives_what_a_cpu_gives(proof, model):
    learner, model = proof[1].made(), MODELS[model]
    if not (episodes := learnable(learner) * 2):
        pytest.skip("it reads tasks of other kinds than these")
    vmaps = model.encoder.vmaps and learner.vmaps
    found = []
    for device in ("cpu", "cuda"):
        params = params_of(model, learner)
        params = {name: value.to(device).requires_grad_() for name, value in params.items()}
        said, slopes = {}, []
        if learner.training != "none":
            loss = ENGINE.loss(model, params, episodes, loss_of(learner), learner.order, vmaps)
            slopes = [each.cpu() for each in torch.autograd.grad(loss, list(params.values()))]
            said["loss"] = float(loss.detach())
        judged = ENGINE.judge(learner, model, {name: value.detach() for name, value in params.items()}, episodes)
        found.append((said, slopes, [each.statistics for each in judged], [each.predictions for each in judged]))
    cpu, gpu = found
    assert gpu[0] == pytest.approx(cpu[0], rel=1e-8)
    torch.testing.assert_close(gpu[1], cpu[1], rtol=1e-6, atol=1e-9)
    for one, other in zip(gpu[2], cpu[2], strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
    for one, other in zip(gpu[3], cpu[3], strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
