"""Whether boards, rules and alerts have data: what a server exposes, as a scraper stores it.

`catalogue` reads a server, `contract` judges queries against it, `live` asks a real Prometheus,
and `stage` is the whole, a question of the graph. `docs/observe.md` says what each verdict means.
"""
