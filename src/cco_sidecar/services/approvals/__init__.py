"""ApprovalService: questions to a person."""
