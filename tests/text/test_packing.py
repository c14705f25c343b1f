import torch

from metalingua.text.batch import Inputs
from metalingua.text.packing import Packing

TOKENS = torch.tensor([[5, 3, 0], [7, 0, 0], [3, 9, 9], [8, 5, 0]])
LENGTHS = torch.tensor([2, 1, 3, 2])


def test_rows_go_step_by_step_and_the_longest_texts_come_first():
    packing = Packing.of(TOKENS, LENGTHS)
    assert packing.sizes == [4, 3, 1]
    assert packing.words[packing.place].tolist() == [3, 5, 8, 7, 9, 3, 5, 9]
    assert packing.words.tolist() == [3, 5, 7, 8, 9]
    assert packing.of_text.argmax(0).tolist() == [2, 0, 3, 1, 2, 0, 3, 2] and packing.of_text.sum(0).eq(1).all()
    assert packing.last.tolist() == [5, 3, 7, 6]
    assert TOKENS.t().flatten()[packing.padded].equal(packing.words[packing.place])


def test_the_mirror_reads_every_text_backward():
    packing = Packing.of(TOKENS, LENGTHS)
    assert packing.words[packing.place[packing.mirror]].tolist() == [9, 3, 5, 7, 9, 5, 8, 3]
    assert packing.mirror[packing.mirror].tolist() == list(range(8))


def test_padding_leaves_no_trace():
    more = Packing.of(torch.nn.functional.pad(TOKENS, (0, 4)), LENGTHS)
    for name, value in vars(Packing.of(TOKENS, LENGTHS)).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(getattr(more, name))), name
    counted = Packing.of(TOKENS, torch.full_like(LENGTHS, 3))
    assert counted.sizes == [4, 4, 4] and counted.words[0] == 0


def test_inputs_work_it_out_once():
    inputs = Inputs(TOKENS, LENGTHS, ("",) * 4)
    assert inputs.packing is inputs.packing
    assert inputs.packing.sizes == [4, 3, 1]
