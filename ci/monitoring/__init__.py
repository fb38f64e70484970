"""Prometheus' configuration, rules, alerts and boards, rendered from the settings and tried."""
