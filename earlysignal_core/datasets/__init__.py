"""From features and outcomes to examples that a model may learn from, and the record of how they were made."""
