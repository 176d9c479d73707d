"""Which cases exist, which of them run, and in which order."""
