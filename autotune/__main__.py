"""The front door for `python -m autotune`."""

from autotune.cli.app import main

if __name__ == "__main__":
    main()
