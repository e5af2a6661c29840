//! Edits beside the file.
