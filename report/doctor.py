"""What `icehouse doctor` says, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def doctor_text(checks: Sequence[dict[str, str]]) -> str:
    """Return a line for each check, its remedy below it, and how many passed."""
    lines = []
    for check in checks:
        lines.append(f"{check['status']}  {check['area']}: {check['what']}")
        if check["remedy"]:
            lines.append(f"      → {check['remedy']}")
    counts = Counter(check["status"] for check in checks)
    lines.append(", ".join(f"{counts[status]} {status}" for status in ("PASS", "WARN", "FAIL")))
    return "\n".join(lines)
