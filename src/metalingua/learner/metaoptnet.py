"""A convex head with implicit differentiation: Lee et al. (2019), arXiv:1904.03758, section 3.

The head here is multinomial logistic regression, LR-D2 of Bertinetto et al. (2019), arXiv:1805.08136, section 3.3, for
any number of classes. The paper's own head, a support vector machine, is not smooth, and it needs a quadratic
programming solver.

With X the support features, Y their one-hot codes, P the softmax of X W by rows, the head is the W that minimises

    sum_i -log P[i, y_i] + penalty/2 |W|^2

Where its gradient X^T (P - Y) + penalty W is 0, W = X^T A with A = (Y - P) / penalty: W lies in the span of the support
features, so A [items, ways] is sought in place of W [size, ways], from the Gram matrix K = X X^T alone:

    r(A) = softmax(K A) - Y + penalty A = 0

The implicit function theorem gives the slope of the solution with respect to whatever K depends on, with J the
derivative of r with respect to A: dA = -J^-1 dr, where dr holds A still. So does one more Newton step from the
solution A*, A* - J^-1 r(A*), with A* and J constants. It changes no value, as r(A*) = 0, and it is all that autograd
gets to see: no graph of the iterations before is kept.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

SOLVED = 1e-8  # the largest entry of r that counts as 0, against 1 in P - Y; the last step squares it
MOST_STEPS = 100  # ten or so are taken; past |x|^2 / penalty = 10^8 float64 has no digits left, and all are


class MetaOptNet(Learner):
    """Meta-learns features on which a convex head, trained to its optimum on the support set, answers best.

    The scale of the outputs is meta-learned as well.
    """

    training = "meta"
    vmaps = False  # its solver looks at what it has found to know when it is done

    @limited("learner")
    def __init__(
        self, label: str, penalty: Annotated[float, Above(0)], tuned: Mapping[str, Sequence[Any]] | None = None
    ):
        """`penalty`: of the squared weights, against the sum of the support texts' losses; the paper's 1 / C."""
        self.label, self.penalty, self.tuned = label, penalty, tuned

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def init(self, model: Model, seed: int) -> Params:
        return {"learner.metaoptnet.scale": torch.tensor(1.0)}

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        features = model.features(params, support.inputs)
        x = features.double()
        dual = solved(x @ x.t(), support.problem.codes(support.targets).double(), self.penalty)
        weights = (x.t() @ dual).to(features.dtype)  # [size, ways]
        return self.predictor(model, params, {"weights": weights}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        def outputs(inputs: Inputs) -> Tensor:
            return params["learner.metaoptnet.scale"] * (model.features(params, inputs) @ adapted["weights"])

        return Predictor(outputs, adapted)


def solved(gram: Tensor, codes: Tensor, penalty: float) -> Tensor:
    """A of the head, [items, ways]; differentiable with respect to `gram` by the implicit function theorem.

    gram   [items, items], float64
    codes  [items, ways], float64
    """
    with torch.no_grad():
        dual = torch.zeros_like(codes)
        for _ in range(MOST_STEPS):
            residual = _residual(gram, codes, penalty, dual)
            if not residual.abs().max() > SOLVED:  # also where a feature is not a number: the loss then says so
                break
            step, size = _newton(gram, penalty, dual, residual), 1.0
            loss = _objective(gram, codes, penalty, dual)
            # a convex function falls along Newton's direction, but perhaps not all the way
            while size > 1e-6 and _objective(gram, codes, penalty, dual - size * step) > loss + 1e-12 * loss.abs():
                size /= 2
            dual = dual - size * step
    residual = _residual(gram, codes, penalty, dual)
    return dual - _newton(gram.detach(), penalty, dual, residual)


def _objective(gram: Tensor, codes: Tensor, penalty: float, dual: Tensor) -> Tensor:
    logits = gram @ dual
    return (logits.logsumexp(-1) - (codes * logits).sum(-1)).sum() + penalty / 2 * (dual * logits).sum()


def _residual(gram: Tensor, codes: Tensor, penalty: float, dual: Tensor) -> Tensor:
    """r(A), [items, ways]."""
    return (gram @ dual).softmax(-1) - codes + penalty * dual


def _newton(gram: Tensor, penalty: float, dual: Tensor, residual: Tensor) -> Tensor:
    """J^-1 residual, [items, ways]. J[ic, jd] = (p_ic [c = d] - p_ic p_id) K_ij + penalty [i = j] [c = d]."""
    p = (gram @ dual).softmax(-1)
    slope = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)  # [items, ways, ways]
    jacobian = torch.einsum("icd,ij->icjd", slope, gram).reshape(p.numel(), p.numel())
    jacobian.diagonal().add_(penalty)
    return torch.linalg.solve(jacobian, residual.reshape(-1)).view_as(p)
