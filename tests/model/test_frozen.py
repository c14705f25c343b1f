import multiprocessing
import os
import signal
import threading
import time

import bert
import numpy as np
import pytest
import torch

from metalingua.error import UserError
from metalingua.model import frozen
from metalingua.model.frozen import FrozenFeatures, batches
from metalingua.text.batch import pad

TEXTS = [f"text {i}" + " more" * (i % 5) for i in range(50)]


class Counting:
    """An encoder of two features a text that counts what it is given."""

    def __init__(self, slow=0.0):
        self.met, self.slow = [], slow

    def __call__(self, items):
        self.met += items
        time.sleep(self.slow)
        return np.array([[len(item), sum(item.encode())] for item in items], dtype=np.float32)


def store(folder, **settings):
    encode = Counting(**settings)
    return FrozenFeatures(folder / "features", 2, encode), encode


def right(features, texts=TEXTS):
    return torch.equal(features, torch.from_numpy(Counting()(texts)))


def test_every_text_is_worked_out_once_and_a_second_run_works_out_nothing(tmp_path):
    first, encode = store(tmp_path)
    assert first.fill(TEXTS + TEXTS[:5]) == 50 and sorted(encode.met) == sorted(TEXTS)
    assert right(first.features(TEXTS)) and len(encode.met) == 50
    second, encode = store(tmp_path)
    assert second.fill(TEXTS[::-1]) == 0 and right(second.features(TEXTS))
    assert encode.met == []


def test_only_new_texts_are_worked_out(tmp_path):
    store(tmp_path)[0].fill(TEXTS[:30])
    more, encode = store(tmp_path)
    assert more.fill(TEXTS) == 20 and sorted(encode.met) == sorted(TEXTS[30:])
    assert right(more.features(TEXTS))


def test_a_text_that_was_never_met_is_worked_out_and_not_kept(tmp_path):
    some, encode = store(tmp_path)
    some.fill(TEXTS[:3])
    encode.met.clear()
    assert right(some.features(["mine", *TEXTS[:3], "mine too"]), ["mine", *TEXTS[:3], "mine too"])
    assert encode.met == ["mine", "mine too"]
    assert store(tmp_path)[0].fill(["mine"]) == 1


def test_features_are_mapped_not_read(tmp_path):
    some, _ = store(tmp_path)
    some.fill(TEXTS)
    assert all(isinstance(shard, np.memmap) for shard in some._shards.values()) and some._shards


def test_batches_hold_texts_of_like_length():
    assert list(batches([2, 6, 6, 30, 3, 2], 12)) == [[3], [1, 2], [4, 0, 5]]


def _fill(folder, slow, counted):
    frozen.SHARD = 10
    some, encode = store(folder, slow=slow)
    some.fill(TEXTS)
    counted.put(len(encode.met))


def started(*args):
    process = multiprocessing.get_context("fork").Process(target=_fill, args=args)
    process.start()
    return process


def test_two_processes_at_once_share_the_work(tmp_path):
    counted = multiprocessing.get_context("fork").Queue()
    both = [started(tmp_path, 0.05, counted) for _ in range(2)]
    assert sorted(counted.get(timeout=60) for _ in both) == [0, 50]
    for process in both:
        process.join()
    assert right(store(tmp_path)[0].features(TEXTS))


def test_a_killed_writer_loses_no_whole_file_and_blocks_nobody(tmp_path):
    process = started(tmp_path, 0.3, multiprocessing.get_context("fork").Queue())
    while not list((tmp_path / "features").glob("*.npy")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (tmp_path / "features" / "cut.npy.part").write_bytes(b"half")
    again, encode = store(tmp_path)
    done = 50 - again.fill(TEXTS)
    assert 10 <= done < 50 and len(encode.met) == 50 - done
    assert right(again.features(TEXTS))


def test_a_damaged_file_is_made_anew(tmp_path):
    store(tmp_path)[0].fill(TEXTS)
    (path,) = (tmp_path / "features").glob("*.npy")
    path.write_bytes(path.read_bytes()[:-10])
    again, _ = store(tmp_path)
    assert again.fill(TEXTS) == 50 and right(again.features(TEXTS))
    assert store(tmp_path)[0].fill(TEXTS) == 0


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "features").write_text("a file")
    with pytest.raises(UserError, match="features cannot be kept in .*; free some space there, or set model.cache"):
        store(tmp_path)[0].fill(TEXTS)


def test_threads_read_at_once(tmp_path):
    some, _ = store(tmp_path)
    some.fill(TEXTS[:25])
    wrong = []
    work = [threading.Thread(target=lambda: right(some.features(TEXTS)) or wrong.append(1)) for _ in range(8)]
    for each in work:
        each.start()
    for each in work:
        each.join()
    assert not wrong


# Of a pretrained encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bert.save(tmp_path_factory.mktemp("bert"))


def prepared(folder, cache, **settings):
    encoder, tokenizer = bert.encoder(folder, cache=str(cache), **settings), bert.tokenizer(folder)
    encoder.prepare(tokenizer, bert.TEXTS)
    return encoder, pad(tokenizer.encode(bert.TEXTS, encoder.max_length), bert.TEXTS)


def files(cache):
    return sorted(path.name for path in cache.rglob("*.npy"))


def test_kept_features_are_those_worked_out_on_the_fly(folder, tmp_path):
    encoder, inputs = prepared(folder, tmp_path)
    never = bert.encoder(folder, cache=str(tmp_path / "other"))
    torch.testing.assert_close(encoder.features({}, inputs), never.features({}, inputs))


def test_what_changes_features_changes_where_they_are_kept(folder, tmp_path):
    prepared(folder, tmp_path)
    assert len(files(tmp_path)) == 1
    prepared(folder, tmp_path)
    assert len(files(tmp_path)) == 1
    for settings in ({"pooling": "cls"}, {"normalize": True}):
        before = len(list((tmp_path / "features").glob("*/")))
        prepared(folder, tmp_path, **settings)
        assert len(list((tmp_path / "features").glob("*/"))) == before + 1
    other = bert.save(tmp_path / "other", seed=1)
    ours, inputs = prepared(folder, tmp_path)
    theirs, _ = prepared(other, tmp_path)
    assert not torch.allclose(ours.features({}, inputs), theirs.features({}, inputs), atol=0.1)


def test_a_text_cut_elsewhere_is_another_text(folder, tmp_path):
    long, inputs = prepared(folder, tmp_path)
    short, cut = prepared(folder, tmp_path, max_length=4)
    assert not torch.allclose(long.features({}, inputs)[2], short.features({}, cut)[2], atol=1e-3)
    assert torch.equal(long.features({}, inputs)[3], short.features({}, cut)[3])  # "lovely" is read whole by both


def test_an_episode_of_a_closed_form_learner_takes_milliseconds(tmp_path):
    """384 features, 10 support and 30 query texts: under 5 ms, the best of many."""
    from metalingua.learner.proto_net import ProtoNet
    from metalingua.learner.ridge import Ridge
    from metalingua.model.model import Model
    from metalingua.problem.classification import Classification
    from metalingua.task.episode import Examples

    folder = bert.save(tmp_path, hidden_size=384, num_attention_heads=12)
    encoder, _ = prepared(folder, tmp_path)
    tokenizer, texts = bert.tokenizer(folder), [f"{a} {b}" for a in bert.WORDS for b in bert.WORDS][:40]
    encoder.prepare(tokenizer, texts)
    model, problem = Model(encoder, {"classification_2": 2}), Classification(2)
    ids = tokenizer.encode(texts, encoder.max_length)
    support, query = pad(ids[:10], texts[:10]), pad(ids[10:], texts[10:])
    labels = torch.arange(10) % 2
    for learner in (Ridge("", 0.1, 1.0), ProtoNet("")):
        params, seconds = model.init(0) | learner.init(model, 0), []
        for _ in range(50):
            began = time.perf_counter()
            with torch.no_grad():
                learner.adapt(model, params, Examples(problem, support, labels, labels.numpy())).outputs(query)
            seconds.append(time.perf_counter() - began)
        assert min(seconds) < 0.005
