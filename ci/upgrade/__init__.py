"""The upgrade advisor: two SGLang versions, tried with one user's flags and dashboards."""
