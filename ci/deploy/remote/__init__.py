"""An environment on another host: the same program runs there, and is told by SSH what to do.

What needs the registry's history, its evidence or a key stays here; the host gets one order, and
gives one answer. Between them go the run's events, and beats that say that both still live.
"""
