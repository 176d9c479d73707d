"""Target profiles: how a backend is made, reached and hurt."""
