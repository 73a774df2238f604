"""Ingest: input files to rows of the catalog."""
