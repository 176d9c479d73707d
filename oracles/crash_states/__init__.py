"""Every state that a power cut may leave, from a log of the writes that came before it."""
