"""What an image weighs: in total, by layer and by package, against budgets and a baseline."""
