"""The single file runs this before the plugin (PyInstaller calls it a runtime hook).

It gives the user's library path back, and unpacks the large libraries only when they are imported.
"""

# pathlib would take 5 ms of every start, and PyInstaller has no public names for what is used of it:
# ruff: noqa: PTH103, PTH110, PTH118, PTH120, PTH123, SLF001

import _signal
import codecs
import gc
import os
import sys
from _frozen_importlib_external import spec_from_file_location

from pyimod02_importers import pyz_archive
from unpacked_late import FILES, NEEDS


class UnpackingFinder:
    """Asked before all others: what a module is loaded with is then there, and a late module it finds itself."""

    @staticmethod
    def find_spec(name, _path=None, _target=None):
        for library, begin, size in NEEDS.pop(name, ()):
            try:
                unpack(os.path.join(sys._MEIPASS, library), begin, size)
            except OSError as error:
                give_up(error)
        return spec_from_file_location(name, os.path.join(sys._MEIPASS, FILES[name])) if name in FILES else None


def give_up(error):
    """Say so in one line, and end: what is there would be a library cut short."""
    folder = os.path.dirname(sys._MEIPASS)
    sys.stderr.write(
        f"error: {folder}: {error.strerror} - the plugin unpacks itself there: set TMPDIR to another folder\n"
    )
    sys.stderr.flush()
    os._exit(3)


def unpack(file, begin, size):
    """Copy a file that begins so many bytes before the table of the modules, as `late` has put it."""
    if os.path.exists(file):
        return
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(pyz_archive._filename, "rb") as whole, open(file, "wb") as out:
        whole.seek(pyz_archive._start_offset + 8)
        table = int.from_bytes(whole.read(4), "big")
        whole.seek(pyz_archive._start_offset + table - begin)
        out.write(whole.read(size))


# Until the plugin has its own way with Ctrl-C, there is nothing to take back.
_signal.signal(_signal.SIGINT, lambda _number, _frame: os._exit(130))

# Credential plugins and other children must load the system's libraries, not those that the single file brings along.
users = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
os.environ.pop("LD_LIBRARY_PATH", None)
if users is not None:
    os.environ["LD_LIBRARY_PATH"] = users

# What is made stays: to look for rings among a hundred thousand objects takes a tenth of the time, and finds none.
gc.set_threshold(1_000_000)

# Names of hosts are in ASCII: urllib3 refuses others. The real codec would bring the Unicode tables along, 1 MB.
codecs.register(lambda name: codecs.lookup("ascii") if name == "idna" else None)

# tabulate can make tables of HTML. Nobody asks for one: the names of two thousand characters stay behind.
entities = sys.modules["html.entities"] = type(sys)("html.entities")
entities.html5 = {}

sys.meta_path.insert(0, UnpackingFinder)
