"""Entry point of ``python -m reference_backend``."""

import gc

gc.disable()  # nothing to collect while modules load; serve() switches it on again

from reference_backend.cli import main  # noqa: E402

raise SystemExit(main())
