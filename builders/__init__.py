"""The stages that fill the catalog: ingest, segment, score, filter, select."""
