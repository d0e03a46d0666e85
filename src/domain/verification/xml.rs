//! What object storage answers: XML, of which the name of the root and three texts of an error count.
//!
//! Per "Error responses" of the API reference of Amazon S3. All of it is foreign: a document that is not well-formed, or
//! has entities of its own, counts as none.

use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};

/// What a document says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// The name of its root.
    pub root: String,
    /// Of an error; empty where there is none.
    pub code: String,
    pub message: String,
    pub region: String,
}

impl Document {
    /// A text of an element right below the root.
    fn add(&mut self, name: &str, text: &str) {
        let field = match (self.root.as_str(), name) {
            ("Error", "Code") => &mut self.code,
            ("Error", "Message") => &mut self.message,
            ("Error", "Region") => &mut self.region,
            _ => return,
        };
        field.push_str(text);
    }
}

/// Reads a document until its root ends.
pub(super) fn read(body: &[u8]) -> Option<Document> {
    let mut reader = Reader::from_str(str::from_utf8(body).ok()?);
    let mut read = Document::default();
    // How many elements are open, and the name of the second of them.
    let (mut open, mut name) = (0_usize, String::new());
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                match open {
                    0 => tag.local_name().into_inner().clone_into(&mut read.root),
                    1 => tag.local_name().into_inner().clone_into(&mut name),
                    _ => {}
                }
                open += 1;
            }
            Event::End(_) => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(read);
                }
            }
            Event::Empty(tag) if open == 0 => {
                tag.local_name().into_inner().clone_into(&mut read.root);
                return Some(read);
            }
            Event::Text(text) if open == 2 => read.add(&name, &text),
            Event::CData(text) if open == 2 => read.add(&name, &text),
            Event::GeneralRef(reference) if open == 2 => match reference.resolve_char_ref().ok()? {
                Some(character) => read.add(&name, character.encode_utf8(&mut [0; 4])),
                None => read.add(&name, resolve_predefined_entity(&reference)?),
            },
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_an_error_are_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Code>Authorization<![CDATA[Header]]>Malformed</Code>
              <Message>the region &#34;us-east-1&#34; is wrong; expecting &apos;eu-west-1&apos;</Message>
              <Region>eu-west-1</Region><Resource><Code>AccessDenied</Code></Resource><HostId/>
            </Error>"#;
        let read = read(text.as_bytes()).unwrap();
        assert_eq!((read.root.as_str(), read.code.as_str()), ("Error", "AuthorizationHeaderMalformed"));
        assert_eq!(read.message, "the region \"us-east-1\" is wrong; expecting 'eu-west-1'");
        assert_eq!(read.region, "eu-west-1");
    }

    #[test]
    fn only_the_root_counts_of_what_is_no_error() {
        for (text, root) in [
            ("<ListBucketResult><Code>AccessDenied</Code></ListBucketResult>", "ListBucketResult"),
            ("<a:ListBucketResult xmlns:a=\"b\"/>", "ListBucketResult"),
            ("<html><head><Code>AccessDenied</Code></head></html>", "html"),
        ] {
            assert_eq!(
                read(text.as_bytes()),
                Some(Document { root: root.to_owned(), ..Document::default() })
            );
        }
    }

    #[test]
    fn what_is_no_document_says_nothing() {
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "AccessDenied">]><Error><Code>&b;</Code></Error>"#;
        let deep = "<a>".repeat(20_000);
        for text in
            ["", "AccessDenied", "{}", "<Error><Code>AccessDenied", "<Error></Code>", "</Error>", bomb, &deep]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"<Error>\xff</Error>"), None);
    }
}
