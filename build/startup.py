"""The single file runs this before the plugin (PyInstaller calls it a runtime hook).

It gives the user's library path back, and unpacks the large libraries only when they are imported.
"""

import codecs
import gc
import os
import sys
from _frozen_importlib_external import spec_from_file_location
from importlib import import_module

from unpacked_late import FILES, NEEDS


class UnpackingFinder:
    """Asked before all others: what a module is loaded with is then there, and a late module it finds itself."""

    @staticmethod
    def find_spec(name, _path=None, _target=None):
        for library, holder in NEEDS.pop(name, ()):
            unpack(holder, os.path.join(sys._MEIPASS, library))
        return spec_from_file_location(name, os.path.join(sys._MEIPASS, FILES[name])) if name in FILES else None


def unpack(holder, file):
    if os.path.exists(file):
        return
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as out:
        out.write(import_module(holder).CONTENT)
    del sys.modules[holder]  # and its megabytes with it


# Credential plugins and other children must load the system's libraries, not those that the single file brings along.
users = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
os.environ.pop("LD_LIBRARY_PATH", None)
if users is not None:
    os.environ["LD_LIBRARY_PATH"] = users

# A start makes a hundred thousand objects that all stay: there is nothing to collect yet.
gc.set_threshold(100_000)

# Names of hosts are in ASCII: urllib3 refuses others. The real codec would bring the Unicode tables along, 1 MB.
codecs.register(lambda name: codecs.lookup("ascii") if name == "idna" else None)

sys.meta_path.insert(0, UnpackingFinder)
