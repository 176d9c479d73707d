"""A correct, readable, fast qbd backend that speaks NBD; see docs/architecture.md."""
