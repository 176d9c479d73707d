"""A small Linux guest, built without root, and what runs in it."""
