"""The single file runs this before the plugin (PyInstaller calls it a runtime hook).

It gives the user's library path back, and unpacks the large libraries only when something imports what needs them.
"""

import os
import sys
from _frozen_importlib_external import spec_from_file_location
from importlib import import_module

from unpacked_late import NEEDED_BY


class UnpackingFinder:
    """Asked before all others. A library that a module needs is then simply there; a late module it finds itself."""

    @staticmethod
    def find_spec(name, _path=None, _target=None):
        own = None
        for library, holder in NEEDED_BY.pop(name, ()):
            file = os.path.join(sys._MEIPASS, library)
            if not os.path.exists(file):
                unpack(holder, file)
            if library.startswith(name.replace(".", "/")):
                own = file
        return spec_from_file_location(name, own) if own else None


def unpack(holder, file):
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as out:
        out.write(import_module(holder).CONTENT)
    del sys.modules[holder]  # and its megabytes with it


# Credential plugins and other children must load the system's libraries, not those that the single file brings along.
users = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
os.environ.pop("LD_LIBRARY_PATH", None)
if users is not None:
    os.environ["LD_LIBRARY_PATH"] = users

sys.meta_path.insert(0, UnpackingFinder)
