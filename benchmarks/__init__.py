"""Experiments: which agents meet which scenarios, what came of it, and how sure we are."""
