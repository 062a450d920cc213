"""Files to jets, and scores to files: awkward arrays in standard names, GeV and mm. Knows no torch.

`read` and `iterate` give jets; the schemas say which columns of a file are which standard field.
"""

from hepgen.io.errors import InputError
from hepgen.io.files import FileSpec, expand
from hepgen.io.reader import iterate, read
from hepgen.io.schema import FIELDS, Schema
from hepgen.io.schemas import SCHEMAS, recognise

__all__ = [
    "FIELDS",
    "SCHEMAS",
    "FileSpec",
    "InputError",
    "Schema",
    "expand",
    "iterate",
    "read",
    "recognise",
]
