"""How good is it? Figures with intervals, baselines beside them, returns, and a report that says so in words."""
