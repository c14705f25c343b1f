"""Where the numbers of a table come from: runs, commits, data, versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHORT = 12  # hex digits of a checksum that are printed


@dataclass(frozen=True)
class Source:
    """What traces a number to what made it; a run of an older version may lack some of it.

    runs      hashes, each the name of a run's directory
    commits   of the code that made them, in full; with "+" and a checksum where the code was not committed
    data      corpus -> the first digits of its checksum
    versions  package -> version, several with commas where runs differ
    devices   that the runs were on: "cpu", and the makes of GPUs
    """

    runs: Sequence[str]
    commits: Sequence[str]
    data: Mapping[str, str]
    versions: Mapping[str, str]
    devices: Sequence[str] = ("cpu",)

    @property
    def line(self) -> str:
        """One sentence, to stand below a table."""
        commits = ", ".join(commit if len(commit) <= SHORT else commit[:7] + commit[40:] for commit in self.commits)
        said = f"Run{'s' * (len(self.runs) > 1)} {', '.join(self.runs)}"
        said += f"; commit {commits}" if commits else "; commit not recorded"
        said += f"; torch {self.versions['torch']}" if "torch" in self.versions else ""
        return said + (f"; on {', '.join(self.devices)}." if list(self.devices) != ["cpu"] else ".")

    @property
    def columns(self) -> dict[str, str]:
        """The same for a csv, a column each, without any number cut but the checksums."""
        data, versions = (" ".join(f"{name}={value}" for name, value in each.items())
                          for each in (self.data, self.versions))  # fmt: skip
        return {"runs": " ".join(self.runs), "commits": " ".join(self.commits), "data": data, "versions": versions}


def source(results: Sequence[Mapping[str, Any]]) -> Source:
    """Of runs that share a table, hence their data."""
    packages = dict.fromkeys(name for result in results for name in result.get("versions") or ())
    return Source(
        runs=list(dict.fromkeys(result["hash"] for result in results)),
        commits=list(dict.fromkeys(result["commit"] for result in results if result.get("commit"))),
        data={name: checksum[:SHORT] for name, checksum in (results[0].get("data") or {}).items()},
        versions={
            name: ",".join(dict.fromkeys(str((result.get("versions") or {}).get(name)) for result in results))
            for name in packages
        },
        devices=list(dict.fromkeys(result.get("device", "cpu") for result in results)),
    )
