"""What a person sees: one tab a file, no file formats, and no torch until something is drawn."""
