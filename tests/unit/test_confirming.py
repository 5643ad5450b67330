"""What counts as a yes, and what is said before something is lost."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest

from quiesce.app.confirm import loss_lines, losses, require_phrase, require_yes
from quiesce.errors import Refused
from quiesce.model import SetState
from quiesce.report import Reporter, make_reporter
from tests.support.builders import NOW, a_set, a_stack, a_world

PHRASE = "DELETE EVERYTHING"


def reporter(typed: str | None) -> tuple[Reporter, io.StringIO]:
    """A reporter whose input is a pipe with this in it, and what it says on stderr."""
    err = io.StringIO()
    stdin = None if typed is None else io.StringIO(typed)
    made = make_reporter(
        task="clean-all", json=False, stdout=io.StringIO(), stderr=err, environ={}, stdin=stdin,
        background=False,
    )  # fmt: skip
    return made, err


@pytest.mark.parametrize("typed", [f"{PHRASE}\n", PHRASE, f"{PHRASE}\r\n"])
def test_the_exact_phrase_is_taken(typed: str) -> None:
    """With any line ending, or none at the end of the input."""
    require_phrase(reporter(typed)[0], PHRASE, ["banner"], None)


@pytest.mark.parametrize(
    "typed",
    ["delete everything\n", f"{PHRASE} \n", f" {PHRASE}\n", "DELETE  EVERYTHING\n", "\n", "",
     "yes\n", f'"{PHRASE}"\n', f"\n{PHRASE}\n", "D\u0395LETE EVERYTHING\n", None],
)  # fmt: skip
def test_any_other_answer_is_a_no(typed: str | None) -> None:
    """Another case, a space too many, nothing, the end of input, no input at all."""
    with pytest.raises(Refused) as refused:
        require_phrase(reporter(typed)[0], PHRASE, [], None)
    assert PHRASE in refused.value.hint
    assert refused.value.exit_code == 6


def test_a_given_phrase_counts_and_a_wrong_one_is_not_asked_again() -> None:
    """`--confirm` answers for good; what was to be seen is in the log all the same."""
    made, err = reporter(f"{PHRASE}\n")
    with pytest.raises(Refused):
        require_phrase(made, PHRASE, ["what is lost"], "delete everything")
    assert "what is lost" in err.getvalue()
    require_phrase(reporter(None)[0], PHRASE, [], PHRASE)


def test_yes_answers_questions() -> None:
    """`--yes`, `yes` and `y`; everything else and nothing are a no."""
    require_yes(reporter(None)[0], "sure?", [], yes=True)
    require_yes(reporter("YES\n")[0], "sure?", [], yes=False)
    require_yes(reporter("y")[0], "sure?", [], yes=False)
    for typed in ("no\n", "", "\n", "yep\n", PHRASE):
        with pytest.raises(Refused):
            require_yes(reporter(typed)[0], "sure?", [], yes=False)


def test_each_loss_names_its_own_newest_verified_backup() -> None:
    """A set counts for what it holds, only when it was verified good, the newest of those."""
    stack, world = a_stack(), a_world(missing_volumes=("redis-data",))
    good = SetState(verified_at=NOW, verified_level="sums", verified_good=True)
    bad = replace(good, verified_good=False)
    day = timedelta(days=1)
    full = replace(a_set("core-1", created_at=NOW - 3 * day), state=good)
    data = replace(a_set("core-2", volumes=(), created_at=NOW - day, kind="data"), state=good)
    schema = replace(a_set("core-3", volumes=(), created_at=NOW, kind="schema"), state=good)
    broken = replace(a_set("core-4", created_at=NOW), state=bad)
    unseen = a_set("core-5", created_at=NOW)
    keys = ["postgres-data", "redis-data", "backend-media", "proxy-logs", "backend-static"]
    sizes = {"postgres-data": (10, 2048), "backend-media": (1, 5), "proxy-logs": None}
    lost = losses(stack, world, keys, sizes)
    lines = {
        line.split()[1]: line
        for line in loss_lines(lost, [full, data, schema, broken, unseen], NOW)
    }
    assert "2.0 KiB, 10 files; newest verified backup 24 h ago (core-2)" in lines["postgres-data"]
    assert "5 B, 1 file; newest verified backup 3 days ago (core-1)" in lines["backend-media"]
    assert "size unknown; is never backed up" in lines["proxy-logs"]
    assert lines["backend-static"].endswith("NO verified backup")
    assert "redis-data" not in lines, "what is not there cannot be lost"
