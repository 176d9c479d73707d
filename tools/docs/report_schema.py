"""Write docs/report.schema.json: ``python -m tools.docs.report_schema``."""

from __future__ import annotations

from qbdcheck.files import ROOT
from qbdcheck.report.schema import text

if __name__ == "__main__":
    (ROOT / "docs" / "report.schema.json").write_text(text(), encoding="utf-8")
