"""Runs cases, each in a process of its own, and keeps their records. Imports no torch itself."""

from rmmbench.sweep.events import Event as Event
from rmmbench.sweep.events import Finished as Finished
from rmmbench.sweep.events import Started as Started
from rmmbench.sweep.events import Working as Working
from rmmbench.sweep.fork_server import EndedError as EndedError
from rmmbench.sweep.plan import Plan as Plan
from rmmbench.sweep.plan import make_plan as make_plan
from rmmbench.sweep.sweep import remaining as remaining
from rmmbench.sweep.sweep import sweep as sweep
