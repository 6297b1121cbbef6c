"""The commands: thin shells around the rooms below."""
