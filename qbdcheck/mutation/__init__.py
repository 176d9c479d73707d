"""Run the suite against seeded bugs: the kill matrix."""
