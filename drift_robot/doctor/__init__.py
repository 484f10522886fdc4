"""`drift-robot doctor`: what can be wrong before a session, and what to do about it; one file for each concern."""
