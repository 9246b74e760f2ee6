"""HOW IT IS TOLD: pages of results as data and as text, and the files to install."""
