//! Where to ask, and the key that is never shown.
//!
//! Invariants: an address that is printed or written has neither user nor query, where secrets
//! stand; a key can be sent, compared with and taken out of a text, and nothing else: it has no
//! `Display`, and its `Debug` hides it.
//!
//! Deliberately absent: reading the environment; the command line does.

use std::fmt;

/// An HTTP address.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Up to the end of the path, without a slash at the end.
    base: String,
    /// `?…`, or nothing.
    query: String,
}

/// Why a text is no address that can be asked. It does not repeat the text, which may hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("the address must start with http:// or https://")]
    Scheme,
    /// Nothing behind the scheme.
    #[error("the address names no host")]
    Host,
    /// `user:password@host`.
    #[error("the address holds a user or a password; put the key into an environment variable")]
    User,
    /// A space, a control character, or another that is not ASCII.
    #[error("the address holds a character that must be percent-encoded")]
    Character,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressError`] for what is no `http` or `https` address, or holds a user.
    pub fn new(text: &str) -> Result<Address, AddressError> {
        let text = text.split('#').next().unwrap_or_default();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressError::Character);
        }
        let (base, query) = text.split_at(text.find('?').unwrap_or(text.len()));
        let lower = base.to_ascii_lowercase();
        let rest = ["http://", "https://"].iter().find_map(|scheme| lower.strip_prefix(scheme));
        let host = rest.ok_or(AddressError::Scheme)?.split('/').next().unwrap_or_default();
        if host.contains('@') {
            return Err(AddressError::User);
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(AddressError::Host);
        }
        Ok(Address { base: base.trim_end_matches('/').to_owned(), query: query.to_owned() })
    }

    /// What may be printed and written.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.base
    }

    /// The address itself.
    pub(super) fn whole(&self) -> String {
        format!("{}{}", self.base, self.query)
    }

    /// An address below this one, under the same query.
    pub(super) fn below(&self, path: &str) -> String {
        format!("{}{path}{}", self.base, self.query)
    }

    /// An address at the root of the server: what engines tell outside `/v1`.
    pub(super) fn beside(&self, path: &str) -> String {
        let root = self.base.strip_suffix("/v1").unwrap_or(&self.base);
        format!("{root}{path}{}", self.query)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// An API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// The text of an environment variable is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API key is empty or holds a character no header can carry")]
pub struct KeyError;

impl Key {
    /// Takes a key, blanks around it removed.
    ///
    /// # Errors
    /// [`KeyError`] when nothing is left, or a header cannot carry it.
    pub fn new(text: &str) -> Result<Key, KeyError> {
        let text = text.trim();
        let valid = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| Key(text.to_owned())).ok_or(KeyError)
    }

    /// The value of the header `Authorization`.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text without the key: servers quote it in their complaints.
    pub(super) fn taken_out_of(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let address = Address::new("https://host:8000/v1/?api-key=secret#part").expect("valid");
        assert_eq!(address.shown(), "https://host:8000/v1");
        assert_eq!(format!("{address:?}"), "https://host:8000/v1");
        assert_eq!(address.below("/models"), "https://host:8000/v1/models?api-key=secret");
        assert_eq!(address.beside("/version"), "https://host:8000/version?api-key=secret");
        let cases = [
            ("host:8000/v1", AddressError::Scheme),
            ("ftp://host", AddressError::Scheme),
            ("http://", AddressError::Host),
            ("http://:80/", AddressError::Host),
            ("http://user:secret@host/", AddressError::User),
            ("http://host/a b", AddressError::Character),
            ("http://host/é", AddressError::Character),
        ];
        for (text, expected) in cases {
            let error = Address::new(text).expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_key_never_shows() {
        let key = Key::new(" sk-123 \n").expect("a key");
        assert_eq!(format!("{key:?}"), "[key]");
        assert_eq!(key.bearer(), "Bearer sk-123");
        assert_eq!(key.taken_out_of("bad key sk-123!"), "bad key [key]!");
        assert!(Key::new("").is_err() && Key::new("a\nb").is_err());
    }
}
