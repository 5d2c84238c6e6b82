"""One HTML page about runs, which needs no network: the answer, tables, figures, what is missing.

Templates, style and scripts are in `files`; whatever a run says is escaped by Jinja.
"""
