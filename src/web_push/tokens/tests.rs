//! How many tokens are made, and how many kept.
