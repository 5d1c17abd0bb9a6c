//! Session files of a job on its computing element.
