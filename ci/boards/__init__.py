"""What dashboards, rules and scalers ask of the metrics, and whether a new version still has it."""
