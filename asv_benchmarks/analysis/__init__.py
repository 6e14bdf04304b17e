"""Analysis beside DuckDB and Polars: the same documents, the same questions, the same answers, one run."""
