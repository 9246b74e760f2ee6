"""On the board, without autotune: what `autotune export` ships, and its `install` and `uninstall` run.

Python 3.9 and its standard library; of ours it has the agent's lists and its way to read, write and put back one value.
"""
