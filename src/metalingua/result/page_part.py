"""A part of a page that a command writes: what stands between its markers."""

from pathlib import Path

from metalingua.result.run import RunError, write_atomically


def rewrite(file: Path, name: str, text: str) -> None:
    """Replace what stands in `file` between `<!-- table:name -->` and the next `<!-- end -->`; all else stays, byte for
    byte. Raises RunError where these markers are not there exactly once."""
    start, end = f"<!-- table:{name} -->", "<!-- end -->"
    try:
        before, *rest = file.read_bytes().decode().split(start)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {file}: {error}; --into rewrites a part of a UTF-8 text that is there") from error
    inside, closing, after = rest[0].partition(end) if len(rest) == 1 else ("", "", "")
    if not closing or "<!-- table:" in inside:
        raise RunError(f"{file} needs `{start}` once, and `{end}` below it, each on a line: that part is rewritten")
    write_atomically(file, f"{before}{start}\n{text.rstrip()}\n{end}{after}".encode())
