"""What a person sees: one tab a file, no file formats and no torch."""
