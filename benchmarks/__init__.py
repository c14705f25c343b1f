"""How fast metalingua is, against the libraries that do the same. `make bench`; docs/performance.md is its report."""
