//! A client that behaves badly.
