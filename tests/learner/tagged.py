"""Tagged sentences for learners that read words."""

import numpy as np
import torch

from metalingua.problem.tagging import Tagging
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

PROBLEM = Tagging(("PER", "LOC"))
# what the proofs' checks ask is proven of learners of texts; these read tagged words, and their own tests stand beside
OTHER_TASKS = "it tags words, and the proofs' tasks are of whole texts"
TEXTS = ["Ada went to Oslo .", "Bo Ek went to Rome .", "they went to New Lima today .", "Cy Falk saw Oslo ."]
TAGS = ["B-PER O O B-LOC O", "B-PER I-PER O O B-LOC O", "O O O B-LOC I-LOC O O", "B-PER I-PER O B-LOC O"]


def inputs_of(texts):
    counts = [len(text.split(" ")) if text else 0 for text in texts]  # a text of no word that is read has one token
    at = torch.tensor([[i, k] for i, count in enumerate(counts) for k in range(count)])
    lengths = torch.tensor([max(1, count) for count in counts])
    return Inputs(torch.ones(len(texts), int(lengths.max())).long(), lengths, tuple(texts), at=at)


def examples(texts=TEXTS, tags=TAGS):
    labels = np.concatenate([PROBLEM.labels(each.split()) for each in tags])
    return Examples(PROBLEM, inputs_of(texts), torch.from_numpy(labels), labels)


def answered(learner, text, support=None):
    """What `learner` tags `text` as, after `support`."""
    outputs = learner.adapt(None, {}, support or examples()).outputs(inputs_of([text]))
    return [PROBLEM.tags[tag] for tag in PROBLEM.predictions(outputs)]
