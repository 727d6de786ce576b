"""How a decision of a policy is shown: its steps, their results, and the specifications that they follow."""

from typing import TYPE_CHECKING

from cli.output import print_line, print_table

if TYPE_CHECKING:
    from catalog.policy.explanation import PolicyDecision


def explain_decision(decision: "PolicyDecision") -> None:
    """Print a decision step by step."""
    print_line(f"{decision.repository}@{decision.digest}: {decision.outcome}, {decision.reason}")
    print_line(f"policy {decision.policy} ({decision.policy_digest})")
    print_table(
        ("STEP", "RESULT", "WHAT", "WHY"), [(one.number, one.result, one.title, one.detail) for one in decision.steps]
    )
    for source in dict.fromkeys(one.source for one in decision.steps):
        numbers = ", ".join(one.number for one in decision.steps if one.source == source)
        print_line(f"source of {numbers}: {source}")
