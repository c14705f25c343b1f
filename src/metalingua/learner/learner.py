"""What every learner is: a mapping from a support set to a predictor."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Episode, Examples
from metalingua.task.task import Task
from metalingua.text.batch import Inputs


@dataclass(frozen=True)
class Predictor:
    """What adapting gives."""

    outputs: Callable[[Inputs], Tensor]  # inputs of the same episode -> [items, problem.outputs]
    params: Params = field(default_factory=dict)  # the adapted parameters, for cost and for looking inside
    steps: int | None = None  # gradient steps it took, where the learner itself decides when to stop

    @classmethod
    def of(cls, model: Model, params: Params, problem: Problem) -> "Predictor":
        """The model's own answers to `problem` under `params`."""
        return cls(lambda inputs: model.outputs(params, inputs, problem), params)


def no_classes(problem: Problem) -> str | None:
    """Why a learner that shares items out among classes refuses; None where each item has one class."""
    if problem.exclusive:
        return None
    what = "begin and end of an answer are places" if problem.places else "a number has no classes"
    return f"{what}, and this learner shares items out among classes"


class Learner:
    """Written for one task: the engine runs many. Never mutates `params`, never asks which kind of problem it has.

    training     "meta": through its own adaptation, "joint": on all examples at once, "none": judged as it is
    start        whose parameters it adapts: "trained" (this run's), "scratch" (fresh ones), or a compare entry's name
    transductive whether it may see the query inputs (never their targets): only then the engine hands them over
    order        highest derivative that meta-training takes
    needs_head   whether its answers come from a head of the problem (the model's, or what it fits to the meta-training
                 tasks), which then must have been trained
    needs_table  whether it works on the encoder's embedding table, which then must be among what is learned
    needs_encoder whether it works by moving the encoder, of which something must then be learned
    of_tokens    whether it can work where an item is a token of a text
    tells_tokens whether it can where any token may be the answer, too: hidden words, translations
    reads_names  whether it reads what classes are called (`Examples.names`), so that every class needs a name
    reads_frequency  whether it reads how frequent tokens are in meta-training text (`Inputs.frequency`)
    own_layers   whether it adds layers to the model, so that the model's outputs alone are not its answers
    vmaps        whether torch.vmap can run many tasks as one: no choice depends on a tensor's values, nothing reads the
                 texts, and gradients are taken by `descent`
    files        paths of files of the user's that it reads
    label        what tables call it
    tuned        constructor argument to values: every combination is tried on meta-validation, the best one is tested
    """

    training = "none"
    start = "trained"
    transductive = False
    order = 1
    needs_head = False
    needs_table = False
    needs_encoder = False
    of_tokens = True
    tells_tokens = False
    reads_names = False
    reads_frequency = False
    own_layers = False
    vmaps = False
    files: Sequence[str] = ()
    label = ""
    tuned: Mapping[str, Sequence[Any]] | None = None

    def refuses(self, problem: Problem) -> str | None:
        """Why it cannot learn `problem`, before anything is trained; None if it can."""
        return None

    def init(self, model: Model, seed: int) -> Params:
        """Parameters of its own, meta-learned with the model's; names start with "learner.".

        One that belongs to a parameter of the model is named after it: "learner.step_size.encoder.embedding.weight".
        Where such a name ends with `model.rows` its first axis is token ids, and the engine hands over only the rows
        that an episode uses. A name of the model's replaces its fresh value.
        """
        return {}

    def fit(self, tasks: Sequence[Task]) -> None:
        """What it takes from the meta-training tasks by other means than gradients. Called before it adapts; of several
        calls the last one counts."""

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """One task: the end of its path, unless a learner says otherwise. Differentiable with respect to `params` if
        grad mode is on."""
        last = deque(self.path(model, params, support), maxlen=1)
        if not last:
            raise NotImplementedError(f"{type(self).__name__} has neither adapt nor path")
        return last[0]

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        """The predictors after 0, 1, 2, ... inner steps; none for a learner without steps."""
        return iter(())

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor | None:
        """The predictor whose `params` were `adapted`, made anew from these: so a file keeps one that has adapted.

        None where its answers need more than that, such as the support texts. By default the model answers, where it
        is the model's parameters that adapted, and nothing else.
        """
        of_the_model = all(name.startswith(("encoder.", "head.")) for name in adapted)
        return Predictor.of(model, {**params, **adapted}, problem) if adapted and of_the_model else None

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """What meta-training descends: by default the query loss after adapting. A scalar."""
        query = episode.query
        predictor = self.adapt(model, params, episode.support, query.inputs if self.transductive else None)
        return query.problem.loss(predictor.outputs(query.inputs), query.targets)
