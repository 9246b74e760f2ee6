"""`python3 -I -S -c BOOTSTRAP autotune-agent HASH`: serve the controller, restore, leave."""

from __future__ import annotations

import sys

from autotune.agent.serve import main

if __name__ == "__main__":
    sys.exit(main())
