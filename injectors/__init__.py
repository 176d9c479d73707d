"""How a backend is broken on purpose: the rule language, one file per kind of fault."""
