//! Templates, sandboxed: fuel, a recursion limit, a cap on what comes out, strict undefined values, nothing to load.
//!
//! They may come from anyone: a checkpoint's chat template, a task file. So a template can compute text from the values
//! it is given, and nothing else. Blocks leave no line of their own (`trim_blocks`, `lstrip_blocks`), Python's methods of
//! strings, lists and dictionaries are there, and `raise_exception(message)` fails, as chat templates expect.

use crate::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as TemplateValue;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Arc;

/// The longest template, in bytes.
const MOST_SOURCE: usize = 1 << 20;
/// The longest text a template may give, in bytes.
const MOST_OUTPUT: usize = 16 << 20;
/// Instructions one rendering may take.
const FUEL: u64 = 10_000_000;

/// A template that was read without mistakes.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    environment: Arc<Environment<'static>>,
}

impl Template {
    /// Reads a template. As in Jinja, one newline at its very end is no part of it. `bad_template`.
    pub fn parse(source: &str) -> Result<Self> {
        Self::with(source, false)
    }

    /// Reads a template whose last newline counts like any other character. `bad_template`.
    pub fn parse_exact(source: &str) -> Result<Self> {
        Self::with(source, true)
    }

    fn with(source: &str, keep_last_newline: bool) -> Result<Self> {
        if source.len() > MOST_SOURCE {
            let message = format!("a template of {} bytes; at most 1 MiB is read", source.len());
            return Err(Error::data("bad_template", message));
        }
        let environment = sandbox(keep_last_newline).map_err(|error| wrong(&error))?;
        let template = Self {
            source: source.to_owned(),
            environment: Arc::new(environment),
        };
        template
            .environment
            .template_from_str(&template.source)
            .map_err(|error| wrong(&error))?;
        Ok(template)
    }

    /// What it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text for `values`, an object. `bad_template`: it asks for a value that is not there, takes too long, writes too
    /// much, or calls `raise_exception`.
    pub fn render(&self, values: &Value) -> Result<String> {
        let mut out = Capped(Vec::new());
        self.environment
            .template_from_str(&self.source)
            .and_then(|template| template.render_captured_to(from_json(values), &mut out).map(drop))
            .map_err(|error| wrong(&error))?;
        String::from_utf8(out.0).map_err(|error| Error::data("bad_template", error.to_string()))
    }
}

/// An environment in which a template can do no harm.
fn sandbox(keep_last_newline: bool) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    // A value that is not there may be asked for (`{% if system %}`), but neither printed nor looked into.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| {
        Err::<TemplateValue, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(keep_last_newline)
        .build()?;
    environment.set_syntax(syntax);
    Ok(environment)
}

fn wrong(error: &minijinja::Error) -> Error {
    let mut what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    if let Some(source) = std::error::Error::source(error) {
        what = format!("{what}: {source}");
    }
    let place = error.line().map(|line| format!("line {line} of the template"));
    let failed = Error::data("bad_template", format!("the template fails: {what}"));
    match place {
        Some(place) => failed.at(place),
        None => failed,
    }
}

/// What a template writes, up to a cap.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_OUTPUT {
            return Err(io::Error::other("the text is longer than 16 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same data as a template sees it. Missing values become `none`, not undefined.
pub fn from_json(value: &Value) -> TemplateValue {
    match value {
        Value::Null => TemplateValue::from(()),
        Value::Bool(truth) => TemplateValue::from(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => TemplateValue::from(number),
            (None, Some(number)) => TemplateValue::from(number),
            (None, None) => TemplateValue::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => TemplateValue::from(text.as_str()),
        Value::Array(values) => TemplateValue::from(values.iter().map(from_json).collect::<Vec<_>>()),
        Value::Object(object) => {
            TemplateValue::from_pairs(object.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(source: &str) -> Result<String> {
        Template::parse(source)?.render(&json!({ "name": " Ada ", "list": [1, 2], "none": null }))
    }

    #[test]
    fn values_blocks_and_pythons_methods_are_rendered() {
        for (source, text) in [
            ("{{ name.strip().upper() }}!", "ADA!"),
            (
                "{% for i in list %}\n  {{ i }}\n{% endfor %}\nend",
                "  1\n  2\nend",
            ),
            ("{% if nothing %}a{% else %}b{% endif %}", "b"),
            ("{{ none is none }} <&>", "True <&>"),
            ("one\n\n", "one\n"),
        ] {
            assert_eq!(rendered(source).expect("renders"), text, "{source}");
        }
        let exact = Template::parse_exact("one\n").expect("a template");
        assert_eq!(exact.render(&json!({})).expect("renders"), "one\n");
    }

    #[test]
    fn a_template_can_do_no_harm() {
        for (source, why) in [
            ("{% include 'secret' %}", "template"),
            (
                "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
                "fuel",
            ),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
            ("{{ nothing }}", "undefined"),
            ("{{ nothing.at.all }}", "undefined"),
            (
                "{{ raise_exception('roles must alternate') }}",
                "roles must alternate",
            ),
            ("{% if %}", "unexpected"),
            (&"x".repeat(MOST_SOURCE + 1), "1 MiB"),
            (
                &format!("{{% for i in range(9000) %}}{}{{% endfor %}}", "x".repeat(10_000)),
                "16 MiB",
            ),
        ] {
            let error = rendered(source).expect_err("a mistake");
            assert_eq!(error.code(), "bad_template");
            assert!(error.to_string().contains(why), "{source:.40}: {error}");
        }
    }
}
