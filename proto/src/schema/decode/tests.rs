//! Tables of documents and what upstream says to them.
