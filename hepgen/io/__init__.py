"""Files to jets, and scores to files: awkward arrays in standard names, GeV and mm. Knows no torch.

`read` and `iterate` give jets; the schemas say which columns of a file are which standard field.
`inspect` tells what is in a file, `write` makes one, `write_friend` puts scores beside their jets.
"""

from hepgen.io.errors import InputError
from hepgen.io.files import FileSpec, expand
from hepgen.io.friends import FriendWriter, write_friend
from hepgen.io.inspect import inspect
from hepgen.io.inspection import Inspection
from hepgen.io.lhe import LHEInfo, LHEProcess, write_lhe
from hepgen.io.lhe_reader import iterate_lhe, read_lhe
from hepgen.io.reader import iterate, read
from hepgen.io.schema import FIELDS, Schema
from hepgen.io.schemas import SCHEMAS, recognise
from hepgen.io.write import TreeWriter, write

__all__ = [
    "FIELDS",
    "SCHEMAS",
    "FileSpec",
    "FriendWriter",
    "InputError",
    "Inspection",
    "LHEInfo",
    "LHEProcess",
    "Schema",
    "TreeWriter",
    "expand",
    "inspect",
    "iterate",
    "iterate_lhe",
    "read",
    "read_lhe",
    "recognise",
    "write",
    "write_friend",
    "write_lhe",
]
