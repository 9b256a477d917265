"""The runbook knows every alert, and no other."""

import re

from tests.deploy.queries import rules
from tests.deploy.rendered import DEPLOY

RUNBOOK = (DEPLOY.parent / "docs" / "operations.md").read_text()
SECTIONS = ("Install", "Restart and upgrade", "Roll back a model", "Scale", "Alerts", "Capacity")


def section(title: str) -> str:
    """Return what stands under a heading, up to the next of its level."""
    _, _, after = RUNBOOK.partition(f"\n## {title}\n")
    return after.partition("\n## ")[0]


def test_each_alert_has_a_meaning_and_something_to_do() -> None:
    rows = [
        line.strip("|").split("|") for line in section("Alerts").splitlines() if "`Mixer" in line
    ]
    explained = [name for row in rows for name in re.findall(r"`(Mixer\w+)`", row[0])]
    assert sorted(explained) == sorted(rule["alert"] for rule in rules() if "alert" in rule)
    for _, meaning, to_do in rows:
        assert meaning.strip()
        assert to_do.strip()


def test_each_task_of_an_operator_has_a_section() -> None:
    assert all(section(title).strip() for title in SECTIONS)
