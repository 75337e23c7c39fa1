//! The example of RFC 8291, step by step, and a device that reads what is sent.
