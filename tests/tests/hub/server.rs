//! A hub on this machine: it lists repositories and leads to a second server, as hubs lead to where their large files lie.

use lyceum_tests::sha256;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(crate) const REPOSITORY: &str = "someone/tiny";
pub(crate) const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";
/// Files of this size or more are large: they have a hash and lie on the second server.
const LARGE: usize = 20_000;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whether the second server was asked.
    pub(crate) second: bool,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
}

/// What the servers have, and how they misbehave.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    asked: Vec<Asked>,
    /// Files that break off after so many bytes, each once a number.
    cuts: BTreeMap<String, Vec<usize>>,
    /// Files of which other bytes are sent than are listed.
    lies: BTreeMap<String, Vec<u8>>,
    /// Answers to paths, instead of what would come: status, headers, body.
    answers: BTreeMap<String, (u16, String, Vec<u8>)>,
    ranges: bool,
}

#[derive(Clone)]
pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    pub(crate) address: String,
    pub(crate) second: String,
}

impl Hub {
    /// A hub with the files of a folder, besides others that nobody should want.
    pub(crate) fn of(folder: &Path) -> Self {
        let state = Arc::new(Mutex::new(State {
            ranges: true,
            ..State::default()
        }));
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let addresses = listeners
            .each_ref()
            .map(|one| format!("http://{}", one.local_addr().expect("an address")));
        let [address, second] = addresses;
        let hub = Self {
            state,
            address,
            second,
        };
        for name in lyceum_tests::list(folder) {
            hub.put(&name, std::fs::read(folder.join(&name)).expect("a file"));
        }
        hub.put("README.md", b"# Tiny".to_vec());
        hub.put("modeling_tiny.py", b"import os".to_vec());
        hub.put("pytorch_model.bin", vec![0; 2 * LARGE]);
        hub.put("onnx/model.onnx", vec![1; 2 * LARGE]);
        let [first, other] = listeners;
        hub.serve(first, false);
        hub.serve(other, true);
        hub
    }

    pub(crate) fn put(&self, name: &str, content: Vec<u8>) {
        self.state
            .lock()
            .expect("no panic")
            .files
            .insert(name.to_owned(), content);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.state.lock().expect("no panic").files.remove(name);
    }

    /// Lets a file break off, at each try after one more of these numbers of bytes.
    pub(crate) fn cut(&self, name: &str, after: &[usize]) {
        self.state
            .lock()
            .expect("no panic")
            .cuts
            .insert(name.to_owned(), after.to_vec());
    }

    pub(crate) fn lie(&self, name: &str, content: Vec<u8>) {
        self.state
            .lock()
            .expect("no panic")
            .lies
            .insert(name.to_owned(), content);
    }

    pub(crate) fn honest(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.lies.clear();
        state.answers.clear();
    }

    pub(crate) fn answer(&self, path: &str, status: u16, headers: &str, body: &[u8]) {
        let answer = (status, headers.to_owned(), body.to_vec());
        self.state
            .lock()
            .expect("no panic")
            .answers
            .insert(path.to_owned(), answer);
    }

    pub(crate) fn without_ranges(&self) {
        self.state.lock().expect("no panic").ranges = false;
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().expect("no panic").asked)
    }

    pub(crate) fn listing(&self) -> Value {
        let state = self.state.lock().expect("no panic");
        let entry = |(name, content): (&String, &Vec<u8>)| {
            let mut entry = json!({ "rfilename": name, "size": content.len(), "blobId": "0" });
            if content.len() >= LARGE {
                entry["lfs"] =
                    json!({ "sha256": sha256(content), "size": content.len(), "pointerSize": 130 });
            }
            entry
        };
        let files: Vec<Value> = state.files.iter().map(entry).collect();
        json!({ "id": REPOSITORY, "sha": COMMIT, "siblings": files })
    }

    fn serve(&self, listener: TcpListener, second: bool) {
        let hub = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = hub.clone();
                std::thread::spawn(move || hub.talk(stream, second));
            }
        });
    }

    /// One request and its answer. A client that went away is no mistake.
    fn talk(&self, mut stream: TcpStream, second: bool) {
        let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
        let Some(Ok(first)) = lines.next() else {
            return;
        };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let headers: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let header = |name: &str| {
            let mut pairs = headers.iter().filter_map(|line| line.split_once(": "));
            pairs
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let range = header("range");
        self.state.lock().expect("no panic").asked.push(Asked {
            second,
            path: path.clone(),
            range: range.clone(),
            token: header("authorization"),
        });
        let (head, body) = self.answered(&path, second, range.as_deref());
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body));
        let _ = stream.flush();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.take(1 << 16).read_to_end(&mut Vec::new());
    }

    fn answered(&self, path: &str, second: bool, range: Option<&str>) -> (String, Vec<u8>) {
        let plain = |status: u16, more: &str, body: Vec<u8>| {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
            (head, body)
        };
        if let Some((status, headers, body)) = self.state.lock().expect("no panic").answers.get(path) {
            return plain(*status, headers, body.clone());
        }
        if path == format!("/api/models/{REPOSITORY}/revision/{COMMIT}?blobs=true") && !second {
            return plain(200, "", self.listing().to_string().into_bytes());
        }
        let mut state = self.state.lock().expect("no panic");
        let below = if second {
            "/blobs/".to_owned()
        } else {
            format!("/{REPOSITORY}/resolve/{COMMIT}/")
        };
        let name = path.split('?').next().and_then(|path| path.strip_prefix(&below));
        let Some((name, listed)) = name.and_then(|name| Some((name, state.files.get(name)?))) else {
            return plain(404, "", b"no such thing".to_vec());
        };
        let mut more = format!("X-Repo-Commit: {COMMIT}\r\n");
        if !second && listed.len() >= LARGE {
            let (size, hash) = (listed.len(), sha256(listed));
            let _ = write!(
                more,
                "Location: {}/blobs/{name}?signature=secret\r\nX-Linked-Size: {size}\r\nX-Linked-Etag: \"{hash}\"\r\n",
                self.second
            );
            return plain(302, &more, Vec::new());
        }
        let content = state.lies.get(name).unwrap_or(listed).clone();
        let from = range.and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        let from = from.filter(|from| state.ranges && *from < content.len());
        let body = content[from.unwrap_or(0)..].to_vec();
        let (head, mut body) = match from {
            Some(from) => {
                let range = format!(
                    "Content-Range: bytes {from}-{}/{}\r\n",
                    content.len() - 1,
                    content.len()
                );
                plain(206, &range, body)
            }
            None => plain(200, "ETag: \"of another kind\"\r\n", body),
        };
        let cuts = state.cuts.get_mut(name).filter(|cuts| !cuts.is_empty());
        if let Some(cuts) = cuts {
            body.truncate(cuts.remove(0));
        }
        (head, body)
    }
}
