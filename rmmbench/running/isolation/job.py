"""The job of a forked process: a function that can send messages, and its arguments."""

import faulthandler
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rmmbench.running.isolation.pipe import Sender

Send = Callable[[object], None]

# multiprocessing's sockets need 33 characters more, and a socket's path has at most 108.
_LONGEST_PLACE = 75


def packed(word: bytes, function: Callable[..., None], args: tuple[Any, ...]) -> bytes:
    """Return a job as bytes: function(send, *args), to run in this working directory.

    Args:
        word: What messages begin with.
        function: From a module that can be imported.
        args: Arguments that can be pickled.
    """
    # Two pickles: the inner one can be read only once modules are found.
    return pickle.dumps((word, str(Path.cwd()), search_path(), pickle.dumps((function, args))))


def search_path() -> list[str]:
    """Return where modules are found: the working directory last, unless PYTHONPATH names it.

    So no file there stands in for a library of the same name.
    """
    here = str(Path.cwd())
    asked = map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if here in asked:
        return [path for path in sys.path if path]
    elsewhere = [path for path in sys.path if path not in ("", here)]
    return elsewhere + [here] * (len(elsewhere) < len(sys.path))


def work(task: int, messages: int, temporary: Path) -> None:
    """Do the job that the file `task` holds, and end this process; what it started ends with it.

    Args:
        task: Descriptor of the file.
        messages: Descriptor that messages go to.
        temporary: Folder for Python's temporary files, not used if its path is too long for
            sockets. The server removes it.
    """
    code = 1
    try:
        faulthandler.enable()
        with open(task, "rb") as file:
            word, here, sys.path[:], what = pickle.load(file)
        os.chdir(here)
        if len(os.fsencode(temporary)) <= _LONGEST_PLACE:
            temporary.mkdir()
            tempfile.tempdir = str(temporary)
        function, args = pickle.loads(what)
        function(Sender(messages, word).send, *args)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def of_a_shared_class(error: Exception) -> Exception:
    """Return the error as one of a class that its reader has too: Python's own, or rmmbench's."""
    for kind in type(error).__mro__:
        if kind.__module__ in ("builtins", "rmmbench.errors"):
            with suppress(TypeError):
                made = kind(str(error))
                assert isinstance(made, Exception)
                return made
    return RuntimeError(str(error))
