"""The size of previous results in a context."""

from __future__ import annotations

from cco_sidecar.services.context.outputs import merged
from orchestra.v1.result_service_pb2 import RESULT_STATUS_SUCCESS, AgentResult, Result


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
