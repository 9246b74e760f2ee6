"""FRONT DOOR: the command `autotune`. Every command imports the rooms it needs when it runs, not before."""
