"""WHAT WE LEARNED: what the samples say of each setting."""
