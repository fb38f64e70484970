"""What users and dashboards rely on: recorded from a server, and held against another one's."""
