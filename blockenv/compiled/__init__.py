"""The same day, faster: the functions that describe a day are recorded once and turned into machine code.

`dynamics`, `history` and `observation` stay the only place of every equation. Here their own functions are called
with arrays that write down what is done to them (`recording`), the record is written out as C (`source`), compiled by
the machine's own compiler and kept (`library`), and tied to a cohort's memory (`day`), where that pays (`choice`). Without a
compiler, or where the result is not the same as NumPy's to the last bit, everything goes on in NumPy.
"""

from blockenv.compiled.choice import Choice
from blockenv.compiled.day import People, World
from blockenv.compiled.library import CompilerError
from blockenv.compiled.tied import Tied

__all__ = ["Choice", "CompilerError", "People", "Tied", "World"]
