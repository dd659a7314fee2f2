"""Watching the model in service: drift, performance, live data, and when to retrain. Figures and rules, no storage."""
