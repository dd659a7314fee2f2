"""What is kept of every model for people: its card, and its record among the experiments."""
