"""Cases that any SGLang server passes, whatever its model; one file a topic.

They judge the server, never how clever the model is: a random one passes too. Outputs are
short, greedy and bounded, and every prompt that must miss the prefix cache is new in each run.
"""
