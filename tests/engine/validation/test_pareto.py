from hypothesis import given, settings
from hypothesis import strategies as st

from engine.validation.pareto import pareto_front

NUMBERS = st.integers(0, 6).map(float)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8))
def test_the_front_holds_exactly_what_nothing_beats(points):
    def beaten(at: int) -> bool:
        cost, score = points[at]
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)

    front = pareto_front([cost for cost, _ in points], [score for _, score in points])
    assert {points[at] for at in front} == {points[at] for at in range(len(points)) if not beaten(at)}
    assert len(front) == len({points[at] for at in front}), "equals stand once"
    assert [points[at] for at in front] == sorted(points[at] for at in front)
