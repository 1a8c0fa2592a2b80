//! Addresses on the web, as far as a hub needs them: whether two are of the same host, and where a redirect leads.

use std::fmt;
use std::str::FromStr;

/// An address of the schemes `https` and `http`, without a user's name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    secure: bool,
    /// Host and port, in lower case, without the port that the scheme has anyway.
    host: String,
    /// Path and query.
    rest: String,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected an address as `https://hub.example`".to_owned();
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        let (scheme, rest) = text.split_once("://").filter(|_| printable).ok_or_else(wrong)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, rest) = rest.split_at(end);
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if host.is_empty() || host.starts_with(':') || !host.chars().all(known) {
            return Err(wrong());
        }
        let host = host.to_ascii_lowercase();
        let own_port = if secure { ":443" } else { ":80" };
        Ok(Self {
            secure,
            host: host.strip_suffix(own_port).unwrap_or(&host).to_owned(),
            rest: rest.to_owned(),
        })
    }
}

impl Address {
    /// Whether what is sent there is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is of this machine.
    pub fn is_here(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        let address = name.parse::<std::net::IpAddr>();
        name == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether both are of one host, port and scheme.
    pub fn same_host(&self, other: &Self) -> bool {
        (self.secure, &self.host) == (other.secure, &other.host)
    }

    /// Scheme and host alone, for messages: the rest of an address may hold a signature.
    pub fn host(&self) -> String {
        format!("{}://{}", self.scheme(), self.host)
    }

    /// The address of `path`, which begins with a slash, below this one.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        let base = self.rest.split('?').next().unwrap_or_default();
        Self {
            rest: format!("{}{path}", base.trim_end_matches('/')),
            ..self.clone()
        }
    }

    /// Where a redirect from here leads: to another address, or to another path of this host.
    ///
    /// # Errors
    /// It is neither, or from an encrypted address to one that is not.
    pub fn redirected(&self, location: &str) -> Result<Self, String> {
        let whole = match location {
            path if path.starts_with("//") => format!("{}:{path}", self.scheme()),
            path if path.starts_with('/') => format!("{}{path}", self.host()),
            other => other.to_owned(),
        };
        let to: Self = whole.parse()?;
        if self.secure && !to.secure {
            return Err(format!("`{}` is not encrypted", to.host()));
        }
        Ok(to)
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host(), self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn hosts_are_compared_with_scheme_and_port() {
        let hub = address("https://Hub.example/");
        assert!(hub.same_host(&address("HTTPS://hub.example:443/a?b")));
        for other in [
            "http://hub.example",
            "https://hub.example:8443",
            "https://hub.example.evil.example",
            "https://evil.example/hub.example",
            "https://cdn.hub.example",
        ] {
            assert!(!hub.same_host(&address(other)), "{other}");
        }
        assert_eq!(hub.at("/a/b").to_string(), "https://hub.example/a/b");
        assert_eq!(address("http://x/m/?q").at("/a").to_string(), "http://x/m/a");
        assert_eq!(address("https://x/a?signature=s").host(), "https://x");
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "hub.example",
            "ftp://hub.example",
            "https://",
            "https:///a",
            "https://user@hub.example",
            "https://user:secret@hub.example/",
            "https://hub.example/a b",
            "https://hub.example/\n",
            "https://:80/",
            "https://hüb.example",
        ] {
            text.parse::<Address>().expect_err(text);
        }
    }

    #[test]
    fn redirects_lead_to_addresses_and_never_out_of_encryption() {
        let here = address("https://hub.example/a/b?c");
        let to = |location| here.redirected(location).map(|to| to.to_string());
        assert_eq!(to("/d?e").expect("a path"), "https://hub.example/d?e");
        assert_eq!(to("//cdn.example/d").expect("a host"), "https://cdn.example/d");
        assert_eq!(
            to("https://cdn.example/d").expect("an address"),
            "https://cdn.example/d"
        );
        for location in ["http://hub.example/d", "d", "../d", "file:///etc/passwd", ""] {
            to(location).expect_err(location);
        }
        let plain = address("http://127.0.0.1:80/a");
        plain.redirected("https://hub.example/").expect("into encryption");
    }

    #[test]
    fn this_machine_is_known() {
        for here in ["http://localhost:8080", "http://127.0.0.1:1/a", "http://[::1]:9/"] {
            assert!(address(here).is_here(), "{here}");
        }
        for there in [
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://10.0.0.1",
            "http://[::2]",
        ] {
            assert!(!address(there).is_here(), "{there}");
        }
    }
}
