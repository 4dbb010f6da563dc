"""The size of previous results in a context."""

from __future__ import annotations

from cco_sidecar.services.context.outputs import merged
from orchestra.v1.result_service_pb2 import RESULT_STATUS_FAILED, RESULT_STATUS_SUCCESS, AgentResult, Result


def result(decisions: int, files: int) -> bytes:
    work = AgentResult(status=RESULT_STATUS_SUCCESS, decisions=[f"decision {n}" for n in range(decisions)])
    work.files_deleted.extend(f"src/{'x' * 180}/{n}.py" for n in range(files))
    return Result(agent_id="a", agent_type="python-specialist", result=work).SerializeToString()


def test_many_decisions_do_not_each_name_all_files() -> None:
    """Without the limit, a hundred kilobytes of a result become gigabytes of outputs."""
    outputs = merged([result(1000, 500)], [])
    assert 0 < len(outputs) <= 100
    assert sum(output.ByteSize() for output in outputs) < 2 * 2**20


def test_a_single_decision_names_all_files() -> None:
    (output,) = merged([result(1, 500)], [])
    assert len(output.files_affected) == 500


def test_many_results_stay_within_a_few_megabytes() -> None:
    outputs = merged([result(100, 500)] * 200, [])
    assert outputs and sum(output.ByteSize() for output in outputs) < 6 * 2**20


def test_findings_are_in_the_first_output_of_a_result_cut_and_masked() -> None:
    key = "ghp_" + "Zq3xW7eR5tY9uI1oP2aS4dF6gH8jK0lM" + "abcd"
    work = AgentResult(
        status=RESULT_STATUS_FAILED,
        decisions=["one", "two"],
        errors=[f"error {n}" for n in range(80)],
        warnings=[f"the key {key} is in the log"],
        next_steps=["x" * 10_000],
        artifacts={f"report-{n:02}": "# Review\n" for n in range(20)},
    )
    first, second = merged([Result(agent_id="a", result=work).SerializeToString()], [])
    assert (first.status, list(first.warnings)) == ("failed", ["the key [masked] is in the log"])
    assert list(first.errors) == [f"error {n}" for n in range(50)]
    assert first.next_steps[0].startswith("x" * 4_000) and "6000 characters left out" in first.next_steps[0]
    assert sorted(first.artifacts) == [f"report-{n:02}" for n in range(10)]
    assert (second.status, list(second.errors), dict(second.artifacts)) == ("", [], {})
