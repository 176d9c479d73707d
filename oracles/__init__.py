"""How truth is decided: pure functions of what was written and what is read."""
