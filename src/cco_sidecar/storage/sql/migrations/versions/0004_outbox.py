"""Create the outbox, and add revisions to revocations."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.core import announcements
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.approval_service_pb2 import Approval
from orchestra.v1.result_service_pb2 import Result

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    outbox = op.create_table(
        "outbox",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.add_column("revocations", sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("revocations_by_revision", "revocations", ["revision"])
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT body FROM results WHERE event_id = '' ORDER BY number")).all():
        result = Result.FromString(row.body)
        event = announcements.of_result(result).SerializeToString()
        connection.execute(sa.insert(outbox).values(project_id=result.project_id, event=event))
    query = "SELECT body, unannounced FROM {} WHERE unannounced != '' ORDER BY number"
    for row in connection.execute(sa.text(query.format("agents"))).all():
        agent = Agent.FromString(row.body)
        event = announcements.of_agent(agent, row.unannounced).SerializeToString()
        connection.execute(sa.insert(outbox).values(project_id=agent.project_id, event=event))
    for row in connection.execute(sa.text(query.format("approvals"))).all():
        approval = Approval.FromString(row.body)
        event = announcements.of_approval(approval, row.unannounced).SerializeToString()
        connection.execute(sa.insert(outbox).values(project_id=approval.project_id, event=event))
    op.drop_column("agents", "unannounced")
    op.drop_column("approvals", "unannounced")
    op.drop_index("results_unpublished", "results")
    op.drop_column("results", "event_id")
