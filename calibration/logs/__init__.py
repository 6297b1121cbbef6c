"""A firm's message log: written by the simulator, read from files, and laid out for estimation."""
