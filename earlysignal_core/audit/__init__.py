"""The audit: what is wrong with a tape, found by general rules, with evidence."""
