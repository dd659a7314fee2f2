"""The ledger: every prediction, outcome, deployment, decision, request and alert, in PostgreSQL."""
