"""Tests, in tiers: unit, live (a real SGLang) and engine (a real Dagger engine)."""
