"""Hypothesis strategies shared by the property tests."""

from __future__ import annotations

from hypothesis import strategies as st

names = st.text("abcdefghij", min_size=1, max_size=3)


@st.composite
def acyclic_needs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Services with dependencies that never go round: each needs only earlier ones."""
    services = draw(st.lists(names, unique=True, max_size=8))
    needs: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(services):
        earlier = services[:index]
        chosen = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        needs[name] = tuple(chosen)
    shuffled = draw(st.permutations(services))
    return {name: needs[name] for name in shuffled}
