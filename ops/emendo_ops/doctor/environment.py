"""Environment variables that no setting reads."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from emendo_config import GatewaySettings, Settings
from emendo_ops.doctor.finding import Finding

# Emendo's variables that are not settings.
_OTHERS = frozenset({"EMENDO_CONFORMANCE_KEY", "EMENDO_CONFORMANCE_OTHER_KEY", "EMENDO_VERSION"})


def unknown_variables() -> Iterator[Finding]:
    """A warning for each `EMENDO_…` variable that is not a setting, with the setting that was probably meant."""
    known = {*Settings.variables(), *GatewaySettings.variables(), *_OTHERS}
    for name in sorted(os.environ):
        if name.startswith("EMENDO_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "docs/reference/settings.md lists them all"
            yield Finding("environment", "warn", f"{name} is no setting", hint)
