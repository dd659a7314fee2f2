from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlysignal_core.rules import Guard, Rule, evaluate


class Action(StrEnum):
    STOP = "stop"


ENOUGH = Guard("n", ">=", 30, "fewer than 30 rows")


@pytest.mark.parametrize(
    ("comparison", "value", "fires"),
    [("<", 0.1, False), ("<=", 0.1, True), (">", 0.1, False), (">=", 0.1, True), (">", 0.11, True), ("<", 0.09, True)],
)
def test_a_rule_compares_its_figure_with_its_limit(comparison: str, value: float, fires: bool) -> None:
    verdict = evaluate(Rule("r", "share", comparison, 0.1, Action.STOP), {"share": value})
    assert verdict.raw is verdict.effective is fires


@given(st.floats(0, 1), st.integers(0, 100))
def test_a_guard_holds_back_the_effective_verdict_and_never_the_raw_one(share: float, n: int) -> None:
    verdict = evaluate(Rule("r", "share", ">", 0.5, Action.STOP, (ENOUGH,)), {"share": share, "n": n})
    assert verdict.raw == (share > 0.5)
    assert verdict.effective == (share > 0.5 and n >= 30)
    if verdict.raw and not verdict.effective:
        assert "fewer than 30 rows" in verdict.reason


@pytest.mark.parametrize("figures", [{}, {"share": float("nan")}])
def test_a_figure_that_is_unknown_never_fires(figures: dict[str, float]) -> None:
    verdict = evaluate(Rule("r", "share", "<", 0.5, Action.STOP), figures)
    assert not verdict.raw
    assert "could not be computed" in verdict.reason


def test_an_unknown_guard_figure_holds_back() -> None:
    assert not evaluate(Rule("r", "share", ">", 0.5, Action.STOP, (ENOUGH,)), {"share": 0.9}).effective


@pytest.mark.parametrize(
    ("minutes", "told"), [(10_020.0, "10,020"), (999.96, "1000"), (15.0, "15"), (0.12345, "0.1235")]
)
def test_a_reason_writes_large_figures_out(minutes: float, told: str) -> None:
    verdict = evaluate(Rule("r", "minutes", "<", -1, Action.STOP), {"minutes": minutes})
    assert verdict.reason == f"minutes is {told}; the rule fires when minutes < -1"
