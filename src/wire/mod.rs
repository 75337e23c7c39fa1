//! XEP-0357 on the wire, as typed values.

pub mod affiliation;
pub mod json;
pub mod ns;
pub mod options;
pub mod publish;
pub mod request;
