"""THE NIGHT SHIFT: the only room where the others meet."""
