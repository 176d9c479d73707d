"""A certificate as one page of HTML, and two certificates as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment

from qbdcheck.saved.certificate import headline, not_judged

_PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Certificate of {{ stated.target }}: {{ headline }}</title>
<style>
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem} h2{font-size:1.05rem;margin:1.4rem 0 .3rem}
table{border-collapse:collapse;width:100%;table-layout:fixed}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;overflow-wrap:anywhere}
th{width:min(15rem,35%);font-weight:600} tr{border-top:1px solid #8885}
.passed{color:#1a7f37} .failed{color:#cf222e} .partly{color:#9a6700}
@media(prefers-color-scheme:dark){.passed{color:#4ac26b} .failed{color:#ff7b72}
.partly{color:#e3b341}}
code{font-size:.85em;overflow-wrap:anywhere}
@media print{body{margin:0;font-size:11px}}
</style>
<h1>{{ stated.target }}: <span class="{{ shade }}">{{ headline }}</span></h1>
{% if missing %}<p><strong>{{ missing[0]|upper }}{{ missing[1:] }}.</strong> This certificate says
nothing about these cases.</p>{% endif %}
<p>{{ stated.date }}. This page shows a signed statement of qbdcheck. The signature is in the file
<code>{{ file }}</code>: <code>./check verify-certificate {{ file }}</code>.</p>
{% for title, rows in sections %}
<h2>{{ title }}</h2>
<table>{% for name, value in rows %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}
</table>
{% endfor %}
<h2>Signature</h2>
<table><tr><th>public key (ed25519)</th><td><code>{{ public_key }}</code></td></tr>
<tr><th>SHA-256 of the file</th><td><code>{{ digest }}</code></td></tr></table>
</html>
"""
_TITLES = {
    "versions": "Versions",
    "run": "Run",
    "capabilities": "Capabilities",
    "scope": "What was judged",
    "cases": "Verdicts, for each image format",
    "cases_by_basis": "Cases by basis",
    "measures": "Faults, crash states and dual writes",
    "soak": "Soak",
    "kill_matrix": "Seeded bugs that this version of the suite detects",
    "deviations": "Known deviations",
    "failures": "Failures",
    "not_run": "Not run",
}


def page(stated: Mapping[str, Any], file: str, public_key: str, digest: str) -> str:
    """Return the page of a statement. :param file: name of the signed file."""
    sections = [
        (title, [(one, told or "not known") for one, told in rows(stated[name])] or [("none", "-")])
        for name, title in _TITLES.items()
        if name in stated
    ]
    missing = not_judged(stated)
    shade = "partly" if missing and stated["verdict"] == "passed" else stated["verdict"]
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(
        stated=stated,
        sections=sections,
        file=file,
        public_key=public_key,
        digest=digest,
        headline=headline(stated),
        missing=missing,
        shade=shade,
    )


def rows(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of a part of a statement."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield str(name).replace("_", " "), text(member)
    elif value and isinstance(value[0], Mapping):
        for entry in value:
            name, *others = (text(one) for one in entry.values())
            yield name, ", ".join(filter(None, others))
    elif value:
        yield f"{len(value)}", text(value)


def text(value: Any) -> str:
    """Return a value as one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return str(value)


def compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the comparison of two statements: name, first, second."""
    names = ("target", "date", "verdict")
    made = [(name, str(one[name]), str(other[name])) for name in names]
    for part in _TITLES:
        left, right = (dict(_flat(part, stated.get(part, {}))) for stated in (one, other))
        both = dict.fromkeys((*left, *right))
        made += [(name, left.get(name, "-"), right.get(name, "-")) for name in both]
    return made


def _flat(part: str, value: Any) -> Iterator[tuple[str, str]]:
    if part == "capabilities":
        for name in value:
            yield f"capability {name}", "yes"
    elif part == "not_run":
        yield "cases not run", str(len({case for cases in value.values() for case in cases}))
    elif isinstance(value, Mapping):
        for name, member in value.items():
            if part == "cases_by_basis":
                for verdict, number in member.items():
                    yield f"basis {name}, {verdict}", str(number)
            else:
                yield f"{part.replace('_', ' ')}: {name.replace('_', ' ')}", text(member)
    else:
        for entry in value:
            name, *others = (text(one) for one in entry.values())
            yield f"{part[:-1]} {name}", ", ".join(filter(None, others))
