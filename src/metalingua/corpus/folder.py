"""Files of a pretrained model in a folder of one's own, or in a model repository of the Hugging Face Hub."""

from pathlib import Path

from metalingua.corpus.corpus import CorpusError, Unreachable

WANTED = ["*.json", "*.safetensors"]  # data alone: no code, and no pickles


class Folder:
    """A folder as transformers writes it (`save_pretrained`).

    path      the folder, or an id on the Hub: "organisation/name"
    revision  of the Hub: a commit, so that the same files are read next year; null for a folder
    """

    def __init__(self, path: str, revision: str | None = None):
        self.path, self.revision = path, revision

    def __str__(self) -> str:
        return self.path

    def folder(self) -> Path:
        """Where the files lie; from the Hub they are fetched once. Raises CorpusError."""
        if Path(self.path).is_dir():
            return Path(self.path)
        if self.path.startswith((".", "/", "~")) or self.path.count("/") > 1:
            raise CorpusError(f"source.path is {self.path}: there is no such folder; name one that is there")
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.path, revision=self.revision, allow_patterns=WANTED))
        except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise Unreachable(
                f"source.path is {self.path}: it is no folder here, and the Hub does not give it: {reason}; "
                "name a folder, or an id and revision that the Hub has, or try again with a network"
            ) from error
