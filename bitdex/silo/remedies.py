"""Remedies: findings, and what a repair does about each of them."""

from dataclasses import dataclass, replace

from bitdex.silo.check import Finding

AGAIN = "load the data again that wrote it, or restore a backup"
BACKUP = "restore a backup"
NOTHING_LOST = "nothing is lost"
UNTOUCHED = "none: everything is left as it is"


@dataclass(frozen=True, slots=True)
class Repair(Finding):
    """A finding, and what is done about it.

    Attributes
    ----------
    action : str
    key : int or None
        The key whose value is lost.
    """

    action: str
    key: int | None = None


class Refused(Exception):
    """Damage that nothing can be saved from without guessing."""

    def __init__(self, repair: Repair):
        self.repair = repair


def refusal(finding: Finding) -> Refused:
    """Return the refusal to repair anything because of a finding."""
    return Refused(Repair(finding.file, finding.offset, finding.what, "error", BACKUP, UNTOUCHED))


def of_finding(finding: Finding, action: str, remedy: str = NOTHING_LOST) -> Repair:
    """Return a finding together with what is done about it."""
    return Repair(finding.file, finding.offset, finding.what, finding.severity, remedy, action)


def untouched(repair: Repair) -> Repair:
    """Return a repair that is not made, because another one was refused."""
    return replace(repair, action=UNTOUCHED)
