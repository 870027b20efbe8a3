"""The engine: everything the workbench can do without a browser.

Importing it decides the environment of Ultralytics and PyTorch, which both read theirs only once, at import.
"""

from engine.runtime import prepare

prepare()
