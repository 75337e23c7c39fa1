//! Push services check tokens as this does.
