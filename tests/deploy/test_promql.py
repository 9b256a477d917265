import pytest

from tests.deploy.promql import Reading, Selector, read


@pytest.mark.parametrize(
    ("expression", "selectors", "grouping"),
    [
        ("a", [Selector("a")], set()),
        ("2 * sum(a:b:rate5m) > 1e-3", [Selector("a:b:rate5m")], set()),
        ('a{x="y"}[5m]', [Selector("a", (("x", "=", "y"),))], set()),
        (
            'sum by (p, q) (rate(a{x=~"y|z", w!="} or b("}[$__rate_interval]))',
            [Selector("a", (("x", "=~", "y|z"), ("w", "!=", "} or b(")))],
            {"p", "q"},
        ),
        (
            "a / on (p) group_left (q) b and c unless d",
            [Selector(name) for name in "abcd"],
            {"p", "q"},
        ),
        ("sum(a) by (p) or vector(0)", [Selector("a")], {"p"}),
    ],
)
def test_what_an_expression_reads(
    expression: str, selectors: list[Selector], grouping: set[str]
) -> None:
    assert read(expression) == Reading(tuple(selectors), frozenset(grouping))


def test_what_is_not_understood_is_refused() -> None:
    with pytest.raises(ValueError, match="not understood: '@ end"):
        read("a @ end()")
