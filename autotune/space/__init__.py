"""WHAT MAY VARY: settings, parameters, conditions, rules, configurations. Pure: knows no board and no file."""
