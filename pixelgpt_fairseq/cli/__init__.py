"""Commands, a module each: arguments to one call, and what comes of it in print.

What takes seconds to import (torch, fairseq, and the parts of this package that need them) is imported by the functions
that use it, so that ``--help`` and mistakes on the command line are answered at once.
"""
