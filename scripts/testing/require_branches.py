"""Fails where a test run took too few branches: require_branches.py COVERAGE.json LEAST_PERCENT [--without FILE]."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    """Print the share of the branches that were taken, and compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="what coverage wrote with --cov-report=json:FILE")
    parser.add_argument("least", type=float, help="percent")
    parser.add_argument("--without", default=[], nargs="*", metavar="FILE", help="files that are tested elsewhere")
    options = parser.parse_args()
    files = json.loads(options.report.read_text(encoding="utf-8"))["files"]
    counted = [entry["summary"] for name, entry in files.items() if name not in options.without]
    taken, all_of_them = (sum(one[key] for one in counted) for key in ("covered_branches", "num_branches"))
    if not all_of_them:
        sys.exit(f"{options.report} holds no branches: was coverage told to look at the right package?")
    share = 100 * taken / all_of_them
    print(f"branches: {share:.1f} %")
    if share < options.least:
        sys.exit(f"fewer than {options.least:g} % of the branches were taken")


if __name__ == "__main__":
    main()
