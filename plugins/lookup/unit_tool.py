"""Ansible lookup: the tool of the unit, as this checkout builds it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: unit_tool
author: Project PANOPTES (@panoptes)
short_description: Build panoptes-unit on the controller
description:
  - Builds the zipapp from panoptes_unit of this checkout, into the user's cache directory, named by its content.
options: {}
"""

RETURN = r"""
_raw:
  description: A dictionary with C(path) on the controller and C(sha256).
  type: list
  elements: dict
"""

_BUILDER = Path(__file__).parents[2] / "panoptes_unit" / "build.py"


class LookupModule(LookupBase):
    """The same source gives the same bytes, so the cache never goes stale."""

    def run(self, terms: list, variables: dict | None = None, **kwargs: object) -> list[dict]:
        """Build it, if this content is not in the cache."""
        spec = importlib.util.spec_from_file_location("panoptes_unit_build", _BUILDER)
        if spec is None or spec.loader is None:
            raise AnsibleError(f"{_BUILDER} cannot be loaded: check the files out again")
        builder = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(builder)
        content = builder.build()
        digest = hashlib.sha256(content).hexdigest()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "panoptes-unit"
        path = cache / f"panoptes-unit-{digest[:16]}"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}")
            beside.write_bytes(content)
            beside.replace(path)
        return [{"path": str(path), "sha256": digest}]
