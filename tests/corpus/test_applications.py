"""The corpora of the applications, where their files are at hand: they read as README's table says."""

from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
#       file below DATA, texts, domains; what a task would keep
GIVEN = {
    "sentiment_zh": ("sentiment/sentiment_zh_domains.parquet", 74_760, 11, {}),
    "sentiment_languages": ("sentiment/sentiment_multilingual.parquet", 154_163, 31, {}),
    "sentiment_mixed": ("sentiment/sentiment_mixed.parquet", 10_506, 0, {"keep": {"lang": "ml-en"}}),
    "emobank": ("emobank/emobank.parquet", 10_062, 7, {"rating": "dominance"}),
    "stsb": ("stsb_multi/stsb_multi_mt.parquet", 15_169, 11, {"keep": {"split": "test"}}),
    "sib200": ("sib200/sib200.parquet", 57_228, 57, {}),
    "trec": ("sentence_tasks/sentence_tasks.parquet", 5_952, 0, {}),
    "arsc": ("arsc/arsc.parquet", 9_165, 4, {"domain": "domain"}),
}


@pytest.mark.parametrize("name", GIVEN)
def test_its_rows_and_domains(name, tmp_path):
    file, texts, domains, columns = GIVEN[name]
    if not (DATA / file).is_file():
        pytest.skip(f"needs {file} in ../shared/data")
    config = yaml.safe_load((ROOT / "conf" / "corpus" / f"{name}.yaml").read_text())
    config |= {"source": "files", "cache": str(tmp_path)}
    config["files"]["paths"] = [str(DATA / file)]
    config["files"]["columns"] |= columns
    if name == "arsc":  # the twelve target tasks' test sets
        rows = []
        for domain in ("books", "dvd", "electronics", "kitchen_housewares"):
            config["files"]["columns"]["keep"] = {"domain": domain, "split": "test"}
            rows += instantiate(config, _convert_="all").load().to_list()
    else:
        rows = instantiate(config, _convert_="all").load().to_list()
    assert len(rows) == texts
    assert len({row["domain"] for row in rows if "domain" in row}) == domains
    if config.get("labels"):
        assert {row["label"] for row in rows} == set(config["labels"])
    else:
        low, high = config["rating_range"]
        assert all(low <= row["rating"] <= high for row in rows) and len({row["rating"] for row in rows}) > 20
