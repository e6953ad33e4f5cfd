//! Landbridge.
