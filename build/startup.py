"""The single file runs this before the plugin: PyInstaller calls it a runtime hook.

It gives the user's library path back, and unpacks the large libraries only when something imports what needs them.
"""

import os
import sys
from _frozen_importlib_external import spec_from_file_location
from importlib import import_module

from unpacked_late import MODULES, NEEDED_BY


class UnpackingFinder:
    """Asked before all others: what it unpacks, the others then find; a module of its own it finds itself."""

    @staticmethod
    def find_spec(name, _path=None, _target=None):
        for library in NEEDED_BY.pop(name, ()):
            unpack(library)
        return spec_from_file_location(name, os.path.join(sys._MEIPASS, MODULES[name])) if name in MODULES else None


def unpack(library):
    file = os.path.join(sys._MEIPASS, library)
    if os.path.exists(file):
        return
    os.makedirs(os.path.dirname(file), exist_ok=True)
    held = import_module(f"unpacked_late.{library.replace('.', '_').replace('/', '_')}")
    with open(file, "wb") as out:
        out.write(held.CONTENT)
    del sys.modules[held.__name__]


# Credential plugins and other children must load the system's libraries, not those that the single file brings along.
users = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
os.environ.pop("LD_LIBRARY_PATH", None)
if users is not None:
    os.environ["LD_LIBRARY_PATH"] = users

sys.meta_path.insert(0, UnpackingFinder)
