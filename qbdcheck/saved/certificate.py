"""Certificates: a signed, dated statement of what a run has verified about a backend.

The file is one JSON object with the statement and an ed25519 signature of it. Its contents fix its
bytes, so a changed byte is always found, also in white space. A signature proves that the holder of
a key wrote the statement. Whose key it is must be known from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from qbdcheck.errors import UsageError
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

KIND = "qbdcheck certificate"
VERSION = 1
_ALGORITHM = "ed25519"
_MODE = 0o600


@dataclass(frozen=True)
class Facts:
    """What a certificate states beside the results of its run.

    :ivar capabilities: those that were probed.
    :ivar backend_version: as the backend prints it; empty if it does not.
    :ivar deviations: the documented deviations of the profile, with their reasons.
    :ivar kill_matrix: seeded bugs, killed ones, and the digest of the table.
    :ivar soak_s: the seconds of --soak.
    :ivar command: the arguments of the run.
    :ivar all_cases: the number of cases that certify selects by default.
    """

    date: str
    capabilities: Sequence[str]
    backend_version: str
    deviations: Sequence[Mapping[str, str]]
    kill_matrix: Mapping[str, object]
    soak_s: float
    command: str
    all_cases: int


def statement(tally: Tally, facts: Facts) -> dict[str, Any]:
    """Return the statement on a run that has ended.

    :raise ValueError: it has not.
    """
    run, end = tally.run, tally.end
    if run is None or end is None or end.interrupted or end.stopped:
        raise ValueError("the run did not end")
    bad = tally.with_verdict(Verdict.FAIL, Verdict.BROKEN)
    return {
        "kind": KIND,
        "version": VERSION,
        "date": facts.date,
        "target": run.target,
        "verdict": "failed" if bad else "passed",
        "scope": _scope(tally.cases, facts.all_cases),
        "versions": {**run.environment, "backend": facts.backend_version},
        "run": {
            "id": run.run_id, "seed": run.seed, "formats": list(run.formats),
            "command": facts.command, "hours": _hours(end.elapsed_s),
        },
        "capabilities": sorted(facts.capabilities),
        "cases": tally.counts,
        "cases_by_basis": by_basis(tally.cases),
        "measures": _measures(tally.cases),
        "soak": _soak(tally.cases, facts.soak_s),
        "kill_matrix": dict(facts.kill_matrix),
        "deviations": [dict(one) for one in facts.deviations] + _known(tally.cases),
        "failures": [
            {"case": case.case_id, "format": case.image_format, "verdict": case.verdict.value,
             "cause": cause_of_case(case)}
            for case in bad
        ],
        "not_run": _not_run(tally.cases),
    }  # fmt: skip


def _scope(cases: Sequence[CaseEnded], all_cases: int) -> dict[str, int]:
    """Return how many cases there are, and what became of them. A case of several formats is one.

    The worst verdict of a case counts; a case that ran in one format has run.
    """
    ran = {case.case_id for case in cases if case.verdict is not Verdict.NOT_RUN}
    bad = {case.case_id for case in cases if case.verdict in (Verdict.FAIL, Verdict.BROKEN)}
    known = {case.case_id for case in cases if case.verdict is Verdict.KNOWN} - bad
    selected = {case.case_id for case in cases}
    return {
        "all_cases": max(all_cases, len(selected)),
        "passed": len(ran - bad - known),
        "known_failures": len(known),
        "failed": len(bad),
        "not_run": len(selected - ran),
        "not_selected": max(0, all_cases - len(selected)),
    }


def headline(stated: Mapping[str, Any]) -> str:
    """Return the verdict of a statement, with its share of all cases: ``passed 15 of 900 cases``.

    A statement of an older version has no scope: its verdict alone is returned.
    """
    scope = stated.get("scope")
    if scope is None:
        return str(stated["verdict"])
    if scope["failed"]:
        ran = scope["failed"] + scope["passed"] + scope["known_failures"]
        of_all = f", of {scope['all_cases']}" if ran < scope["all_cases"] else ""
        return f"failed {scope['failed']} of {ran} cases{of_all}"
    return f"passed {scope['passed']} of {scope['all_cases']} cases"


def not_judged(stated: Mapping[str, Any]) -> str:
    """Return in words which cases say nothing; "" if all cases passed or failed."""
    scope = stated.get("scope") or {}
    parts = [
        f"{scope[name]} {words}"
        for name, words in (
            ("not_selected", "not selected for this run"),
            ("not_run", "could not run here"),
            ("known_failures", "with known failures"),
        )
        if scope.get(name)
    ]
    return f"not judged: {', '.join(parts)}" if parts else ""


def by_basis(cases: Sequence[CaseEnded]) -> dict[str, dict[str, int]]:
    """Return the number of cases by kind of basis and verdict; a case may have several bases."""
    counts: dict[str, Counter[str]] = {}
    for case in cases:
        bases: Sequence[str] = getattr(case, "basis", ()) or ("not stated",)
        for kind in dict.fromkeys(basis.partition(":")[0].strip() for basis in bases):
            counts.setdefault(kind, Counter())[case.verdict.name.lower()] += 1
    return {kind: dict(sorted(counts[kind].items())) for kind in sorted(counts)}


def _measures(cases: Sequence[CaseEnded]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case.measures)
    return dict(sorted(total.items()))


def _soak(cases: Sequence[CaseEnded], soak_s: float) -> dict[str, float]:
    """Return the hours that were requested for each case of runtest, and those that they ran."""
    ran = [case for case in cases if "runtest" in case.groups and case.verdict is Verdict.PASS]
    elapsed_s = sum(case.elapsed_s for case in ran) if soak_s else 0.0
    return {"requested_hours": _hours(soak_s), "hours": _hours(elapsed_s)}


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 4)


def _known(cases: Sequence[CaseEnded]) -> list[dict[str, str]]:
    return [
        {"case": case.case_id, "format": case.image_format, "reason": "; ".join(case.reasons)}
        for case in cases
        if case.verdict is Verdict.KNOWN
    ]


def _not_run(cases: Sequence[CaseEnded]) -> dict[str, list[str]]:
    """Return the reasons with their cases."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for reason in case.reasons if case.verdict is Verdict.NOT_RUN else ():
            found.setdefault(reason, []).append(case.case_id)
    return {reason: sorted(set(ids)) for reason, ids in sorted(found.items())}


# Section: signatures


def signed(stated: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Return the file with a statement and its signature."""
    signature = _signature(key.public_key().public_bytes_raw(), key.sign(_bytes(stated)))
    return _bytes({"statement": stated, "signature": signature})


def verified(data: bytes) -> tuple[dict[str, Any], str]:
    """Return the statement of a file, and the public key that signed it, in hexadecimal.

    :raise ValueError: the signature is wrong, or a byte was changed.
    """
    try:
        content = json.loads(data)
        stated, signature = content["statement"], content["signature"]
        public_key, value = (_unhexed(signature, name) for name in ("public_key", "value"))
        fresh = {"statement": stated, "signature": _signature(public_key, value)}
        if stated["kind"] != KIND or _bytes(fresh) != data:
            raise ValueError("was changed after it was signed")
        Ed25519PublicKey.from_public_bytes(public_key).verify(value, _bytes(stated))
    except InvalidSignature:
        raise ValueError("the signature is not of this statement") from None
    except json.JSONDecodeError:
        raise ValueError("is not JSON: no certificate, or a damaged one") from None
    except UnicodeError:
        raise ValueError("is not a certificate: is not UTF-8 text") from None
    except KeyError as error:
        raise ValueError(f"is not a certificate: it has no {error}") from None
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"is not a certificate: {error}") from None
    return stated, public_key.hex()


def _unhexed(signature: Mapping[str, str], name: str) -> bytes:
    try:
        return bytes.fromhex(signature[name])
    except ValueError:
        raise ValueError(f"its {name} is no hexadecimal number: a damaged certificate") from None


def _signature(public_key: bytes, value: bytes) -> dict[str, str]:
    return {"algorithm": _ALGORITHM, "public_key": public_key.hex(), "value": value.hex()}


def _bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def public_key_of(key: Ed25519PrivateKey) -> str:
    """Return the public key in hexadecimal."""
    return key.public_key().public_bytes_raw().hex()


def digest(data: bytes) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def default_key_path(environment: Mapping[str, str]) -> Path:
    """Return ``$XDG_CONFIG_HOME/qbdcheck/certificate.key``, or the same below ``~/.config``."""
    chosen = Path(environment.get("XDG_CONFIG_HOME", ""))
    if not chosen.is_absolute():
        chosen = Path(environment.get("HOME", "/")) / ".config"
    return chosen / "qbdcheck" / "certificate.key"


def load_key(path: Path, may_make: bool) -> Ed25519PrivateKey:
    """Return the private key of a PEM file (PKCS #8, not encrypted).

    :param may_make: make the key, with mode 0600, if there is no file.
    :raise UsageError: the file cannot be read, is no such key, or others may read it.
    """
    if may_make and not path.exists():
        _make_key(path)
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise UsageError(f"{path}: others can use this key (mode {mode:04o}); chmod 600 it")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"key {path}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise UsageError(f"key {path}: is not an unencrypted PEM key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"key {path}: is not an ed25519 key; openssl genpkey -algorithm ed25519")
    return key


def _make_key(path: Path) -> None:
    """Make a key file. Of several processes that do this at the same time, one wins."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        raise UsageError(f"cannot make the key {path}: {error.strerror}; use --key FILE") from None
