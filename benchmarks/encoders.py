"""What keeping frozen features costs beside the bare forward.

    python -m benchmarks.encoders --texts 500

Texts are Rotten Tomatoes sentences; the encoder is MiniLM. Both sides encode the same length-sorted batches, as many at
once as there are cores, interleaved. Where other processes want the cores too, CPU seconds say more than seconds.
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from metalingua.machine import cores
from metalingua.model.frozen import batches
from metalingua.result.identity import encoder_config
from metalingua.text.batch import pad

ROUNDS = 5


def main(count: int) -> None:
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        cfg = compose("train", ["model=minilm"])
    texts = instantiate(cfg.task.corpora.rotten_tomatoes).load()["text"][:count]
    tokenizer, encoder = instantiate(cfg.text), instantiate(encoder_config(cfg))
    ids = tokenizer.encode(list(texts), cfg.task.max_length)
    encoder.prepare(tokenizer, [])
    print(f"{count} texts, {sum(map(len, ids)) / count:.0f} tokens each")
    ratios: list[tuple[float, float]] = []
    for n in range(ROUNDS):
        sides = [("bare", lambda: forward(encoder, ids)), ("kept", lambda: filling(cfg, tokenizer, texts))]
        found = {name: side() for name, side in (sides if n % 2 else sides[::-1])}
        (bare, bare_cpu), (kept, kept_cpu) = found["bare"], found["kept"]
        ratios.append((kept / bare, kept_cpu / bare_cpu))
        print(f"bare {count / bare:.0f} texts/s, kept {count / kept:.0f} texts/s, ratio {kept / bare:.3f}; "
              f"of CPU seconds {kept_cpu / bare_cpu:.3f}")  # fmt: skip
    seconds, cpu = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(f"median ratio {seconds:.3f}, of CPU seconds {cpu:.3f}")


def forward(encoder, ids) -> tuple[float, float]:
    """Seconds, and CPU seconds, of the transformers model alone with pooling, a batch a core."""
    began, cpu = perf_counter(), process_time()
    with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(lambda batch: bare(encoder._base, [ids[i] for i in batch]), batches([len(each) for each in ids])))
    return perf_counter() - began, process_time() - cpu


def bare(model, items) -> torch.Tensor:
    inputs = pad(items, [""] * len(items))
    mask = (torch.arange(inputs.tokens.shape[1]) < inputs.lengths.unsqueeze(1)).long()
    with torch.no_grad():
        states = model(input_ids=inputs.tokens, attention_mask=mask).last_hidden_state
    return (states * mask.unsqueeze(2)).sum(1) / inputs.lengths.unsqueeze(1)


def filling(cfg, tokenizer, texts) -> tuple[float, float]:
    """Seconds, and CPU seconds, of working out and keeping all features in a new folder; the model is loaded before."""
    with tempfile.TemporaryDirectory() as folder:
        cfg.model.cache = folder
        encoder = instantiate(encoder_config(cfg))
        encoder.prepare(tokenizer, [])
        began, cpu = perf_counter(), process_time()
        encoder.prepare(tokenizer, list(texts))
        return perf_counter() - began, process_time() - cpu


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=__doc__)
    parser.add_argument("--texts", type=int, default=500)
    main(parser.parse_args().texts)
