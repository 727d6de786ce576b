"""What a check finds, and how checks run: each on a thread of its own, so that none waits for another."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cli import exit_codes
from oci.errors import EntrepotError

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, what was found, and what to do where it is not well."""

    check: str
    state: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """A check by name; `look` returns its findings, or raises what it has met."""

    name: str
    look: Callable[[], Iterable[Finding]]


def ok(check: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, "ok", found)


def run_checks(checks: Sequence[DoctorCheck], *, seconds: float) -> list[Finding]:
    """Run all checks at once; return their findings in order. One that takes longer than `seconds`, or breaks, is a failure."""
    found: dict[str, list[Finding]] = {}
    threads = {}
    for check in checks:
        threads[check.name] = threading.Thread(
            target=_run, args=(check, found), daemon=True, name=f"check {check.name}"
        )
        threads[check.name].start()
    deadline = time.monotonic() + seconds
    result: list[Finding] = []
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            exit_codes.leave_behind()
            text = "check by hand what does not answer, or raise --timeout"
            result.append(Finding(name, "failure", f"no answer within {seconds:g} s", text))
        else:
            result += found.get(name, [])
    return result


def _run(check: DoctorCheck, found: dict[str, list[Finding]]) -> None:
    try:
        made = list(check.look())
    except EntrepotError as error:
        made = [Finding(check.name, "failure", error.message)]
    except Exception as error:  # noqa: BLE001  # a check that breaks is a finding; its text may hold what nobody should see
        made = [Finding(check.name, "failure", f"the check failed: {type(error).__name__}", "report this bug")]
    found[check.name] = made
