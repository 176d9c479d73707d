"""Entry point of ``python -m reference_backend``."""

from reference_backend.cli import main

raise SystemExit(main())
