"""What cases import."""
