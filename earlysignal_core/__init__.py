"""All the knowledge of the early-signal system: pure functions and small classes over DataFrames, free of Dagster."""
