"""Hydra plugins of metalingua; `hydra_plugins` itself is a namespace, shared with other packages."""
