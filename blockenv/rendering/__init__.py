"""What to look at: pictures of a population and the diary of one customer, drawn from what happened day by day.

Only looks on: nothing here changes a customer, a random number or the caller's plotting settings, and the plotting
library is loaded only when a picture is asked for.
"""

from blockenv.rendering.chronicle import Chronicle

__all__ = ["Chronicle"]
