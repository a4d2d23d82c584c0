"""How often a trial or a place is retried."""

from batchscope.engine.orchestration.retry_policy import (
    LONGEST_WAIT_SECONDS,
    PATIENT_RETRIES,
    RETRIES,
    Deaths,
)


def test_deaths_without_progress_are_given_up() -> None:
    deaths = Deaths()
    waits = [deaths.another("one", 0) for _ in range(RETRIES + 2)]
    assert waits == [0.5, 1.0, 2.0, None, None]
    assert deaths.another("two", 0) == 0.5


def test_progress_restores_all_retries() -> None:
    deaths = Deaths()
    assert [deaths.another("one", steps) for steps in (0, 0, 10, 10, 10, 11)] == [
        *(0.5, 1.0),
        *(0.5, 1.0, 2.0),
        0.5,
    ]


def test_success_resets_the_count() -> None:
    deaths = Deaths()
    deaths.another("one", 0)
    deaths.forget("one")
    deaths.forget("never seen")
    assert deaths.another("one", 0) == 0.5


def test_a_lack_that_may_pass_is_waited_for_about_five_minutes() -> None:
    deaths = Deaths(PATIENT_RETRIES)
    waits = [deaths.another("one", 0) for _ in range(PATIENT_RETRIES + 1)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, *([LONGEST_WAIT_SECONDS] * 30), None]
    assert 300 < sum(wait for wait in waits if wait) < 330
