//! XEP-0357 on the wire, and what is read of others, as typed values.

pub mod affiliation;
pub mod bookmarks;
pub mod json;
pub mod ns;
pub mod options;
pub mod publish;
pub mod request;
