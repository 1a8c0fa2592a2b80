//! Asking a hub over HTTP.
//!
//! Redirects are followed here, so that what shows who asks goes to the hub's own host and to no other, and so that an
//! encrypted way stays one.

use super::listing::{is_sha256, wrong_revision};
use super::{Address, Revision, Wanted};
use lyceum_components::{Cancel, Error, Result};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Client as Http, Response, StatusCode, redirect};
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

const MOST_REDIRECTS: usize = 8;
/// A connection that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(30);
/// A server that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_mins(1);
/// How often an interrupt is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A way to a hub.
pub(super) struct Client {
    http: Http,
    runtime: Runtime,
    endpoint: Address,
    revision: Revision,
    token: Option<HeaderValue>,
    cancel: Cancel,
}

/// The beginning of an answer; its bytes follow.
pub(super) struct Answer {
    response: Response,
    /// Who answered, for messages.
    host: String,
    /// The first of the bytes that follow, counted through the file.
    pub(super) from: u64,
    /// What the hub itself said of the file.
    pub(super) told: Told,
}

/// What the hub's own answers say of a file; other hosts are not believed.
#[derive(Default)]
pub(super) struct Told {
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<String>,
}

impl Client {
    /// Gets ready; asks nothing yet. `bad_token`: it cannot be sent.
    pub(super) fn new(wanted: &Wanted, cancel: &Cancel) -> Result<Self> {
        let http = Http::builder()
            .user_agent(concat!("lyceum/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE);
        let token = wanted.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Error::data("bad_token", "HF_TOKEN has characters that no token has"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Self {
            http: http.build().map_err(|error| {
                Error::data(
                    "no_client",
                    format!("connections cannot be made here: {}", cause(error)),
                )
            })?,
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::io("cannot wait for", "a connection"))?,
            endpoint: wanted.endpoint.clone(),
            revision: wanted.revision.clone(),
            token: token.transpose()?,
            cancel: cancel.clone(),
        })
    }

    /// Asks for an address of the hub, from byte `from` on; a server may answer from the first on.
    ///
    /// # Errors
    /// `hub_unreachable`, after which asking again may help; `hub_refused`, `hub_not_found`, `hub_failed`,
    /// `wrong_revision`.
    pub(super) fn get(&self, address: &Address, from: u64) -> Result<Answer> {
        let mut at = address.clone();
        let mut told = Told::default();
        for _ in 0..=MOST_REDIRECTS {
            let ours = at.same_host(&self.endpoint);
            let mut request = self.http.get(at.to_string()).header(ACCEPT_ENCODING, "identity");
            if let Some(token) = self.token.as_ref().filter(|_| ours) {
                request = request.header(AUTHORIZATION, token.clone());
            }
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let sent = self.wait(|| request.send())?;
            let response = sent.map_err(|error| unreachable(&at.host(), &cause(error)))?;
            if ours {
                told.note(response.headers(), &self.revision)?;
            }
            let status = response.status();
            if status.is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let next = location.ok_or("it does not say where".to_owned());
                at = next.and_then(|to| at.redirected(to)).map_err(|what| {
                    let host = at.host();
                    Error::data("hub_failed", format!("`{host}` leads elsewhere, but {what}"))
                })?;
                continue;
            }
            let from = match status {
                StatusCode::OK => 0,
                StatusCode::PARTIAL_CONTENT if begins_at(response.headers(), from) => from,
                _ => return Err(self.refused(status, &at)),
            };
            let host = at.host();
            return Ok(Answer {
                response,
                host,
                from,
                told,
            });
        }
        let host = self.endpoint.host();
        let message = format!("`{host}` leads elsewhere more than {MOST_REDIRECTS} times");
        Err(Error::data("hub_failed", message))
    }

    /// The next bytes of an answer; none at its end. `hub_unreachable`.
    pub(super) fn next(&self, answer: &mut Answer) -> Result<Option<impl AsRef<[u8]> + use<>>> {
        let next = self.wait(|| answer.response.chunk())?;
        next.map_err(|error| unreachable(&answer.host, &cause(error)))
    }

    /// The whole of a short answer. `too_large`; those of [`Self::get`].
    pub(super) fn text(&self, address: &Address, most: u64) -> Result<Vec<u8>> {
        let mut answer = self.get(address, 0)?;
        let mut text = Vec::new();
        while let Some(bytes) = self.next(&mut answer)? {
            text.extend_from_slice(bytes.as_ref());
            if text.len() as u64 > most {
                let message = format!("the hub's answer has more than {most} bytes");
                return Err(Error::data("too_large", message));
            }
        }
        Ok(text)
    }

    /// Waits before asking again, but not through an interrupt.
    pub(super) fn pause(&self, seconds: u64) -> Result<()> {
        self.wait(|| sleep(Duration::from_secs(seconds)))
    }

    /// Waits for what is begun, inside the runtime, unless an interrupt comes before.
    fn wait<W: Future>(&self, begin: impl FnOnce() -> W) -> Result<W::Output> {
        self.runtime.block_on(async {
            let mut work = pin!(begin());
            loop {
                if self.cancel.is_cancelled() {
                    return Err(Error::Interrupted);
                }
                if let Ok(done) = timeout(LOOK, &mut work).await {
                    return Ok(done);
                }
            }
        })
    }

    fn refused(&self, status: StatusCode, at: &Address) -> Error {
        let host = at.host();
        let answered = format!("`{host}` answered {}", status.as_u16());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let hint = if self.token.is_some() {
                    "see that the repository's name is right and that the token in HF_TOKEN may read it"
                } else {
                    "see that the repository's name is right; a private or gated one wants a token in HF_TOKEN"
                };
                Error::data("hub_refused", format!("{answered}: it does not let us read this")).hint(hint)
            }
            StatusCode::NOT_FOUND => {
                Error::data("hub_not_found", format!("{answered}: it knows no such thing"))
                    .hint("see that the repository and the commit are of each other")
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                unreachable(&host, &format!("it answered {}", status.as_u16()))
            }
            _ => Error::data("hub_failed", format!("{answered}, which no hub does here")),
        }
    }
}

impl Told {
    /// Notes what an answer of the hub says; what came first counts.
    fn note(&mut self, headers: &HeaderMap, revision: &Revision) -> Result<()> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(commit) = text("x-repo-commit").filter(|commit| *commit != revision.to_string()) {
            return Err(wrong_revision(commit, revision));
        }
        let hash = text("x-linked-etag").or_else(|| text(ETAG.as_str())).map(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag.trim_matches('"').to_owned()
        });
        self.sha256 = self.sha256.take().or(hash.filter(|hash| is_sha256(hash)));
        let size = text("x-linked-size").and_then(|size| size.parse().ok());
        self.size = self.size.or(size);
        Ok(())
    }
}

/// Whether a part of a file begins where it should.
fn begins_at(headers: &HeaderMap, from: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// The code of errors after which asking again may help.
pub(super) const UNREACHABLE: &str = "hub_unreachable";

pub(super) fn unreachable(host: &str, what: &str) -> Error {
    Error::data(UNREACHABLE, format!("`{host}` cannot be read from: {what}"))
        .hint("run the same command again: what was fetched is kept")
}

/// What went wrong, down to its cause, without the address, which may hold a signature.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
