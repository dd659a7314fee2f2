"""All the knowledge of the early-signal system: pure functions and small classes over DataFrames, free of Dagster."""

import pandas as pd

# Of the frames of a few hundred rows that a day makes, text is chosen and compared twice as fast as Python's objects
# than in Arrow's buffers; the names of columns are text too.
pd.set_option("mode.string_storage", "python")
