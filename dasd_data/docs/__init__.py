"""The catalog's tables, views, columns and parameters as static HTML, with what reads what."""
