//! Staging of input files on a WebDAV store.
