"""What an index shows of itself: its fields and bytes, why a document matches, whether answers are right."""
