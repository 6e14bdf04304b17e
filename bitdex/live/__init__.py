"""Changes of single documents and batches of them, in an index that goes on answering."""
