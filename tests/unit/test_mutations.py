"""The mutation check stays in step with the source, and takes nothing for a kill that is none."""

import pytest

from tests.mutants import MUTATIONS, Mutation
from tests.mutations import ROOT, Outcome, stale


def test_every_mutation_still_applies_to_the_source():
    assert [] == stale(MUTATIONS)


def test_each_names_tests_that_are_there():
    missing = {
        test
        for mutation in MUTATIONS
        for test in mutation.tests
        if f"def {test.split('::')[1].split('[')[0]}(" not in (ROOT / test.split("::")[0]).read_text(encoding="utf-8")
    }
    assert set() == missing


@pytest.mark.parametrize("old", ["no such text", "import"], ids=["gone", "twice"])
def test_a_text_that_is_not_there_once_is_told(old):
    mutation = Mutation("x", "sink/writer.py", ((old, ""),), ())
    [said] = stale([mutation])
    assert said.startswith("x: sink/writer.py has this ")


def test_a_mutation_that_is_no_python_is_told():
    [said] = stale([Mutation("x", "sink/writer.py", (("class LakeWriter:", "class LakeWriter"),), ())])
    assert said.startswith("x: ")


@pytest.mark.parametrize(
    ("failed", "trouble", "is_killed"),
    [(("a test",), "", True), ((), "", False), (("a test",), "1 error", False), ((), "no tests ran", False)],
)
def test_a_kill_is_a_failed_test_and_no_trouble(failed, trouble, is_killed):
    assert is_killed == Outcome("x", failed, 1.0, trouble, "").is_killed
