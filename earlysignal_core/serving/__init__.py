"""Serving: what is said of coming announcements, what happens when something fails, and which stocks are selected."""
