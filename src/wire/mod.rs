//! What is on the wire, as typed values: XEP-0357 first of all, and push2.

pub mod affiliation;
pub mod archive;
pub mod base64;
pub mod bookmarks;
pub mod json;
pub mod message;
pub mod ns;
pub mod options;
pub mod publish;
pub mod push2;
pub mod request;
pub mod sce;
pub mod text;
pub mod xml;
