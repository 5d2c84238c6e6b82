"""Tables as data, and how they are written: `markdown(tables_of(run).tables)`."""

from rmmbench.report.tables.run_tables import RunTables, tables_of
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.report.tables.writers import data, markdown

__all__ = ["Column", "RunTables", "Table", "build", "data", "markdown", "tables_of"]
