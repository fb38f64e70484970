"""How long a start takes, phase by phase: alone, against budgets, and beside a baseline."""
